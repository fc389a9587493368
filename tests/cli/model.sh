nqz encode model.safetensors -r 4
nqz decode model.nqz -o back.safetensors
nqz inspect model.nqz
nqz matmul model.nqz model.safetensors --tensor-a layer.weight --tensor-b layer.weight -o product.npy
nqz encode model.safetensors -r 4 --tensor 'layer.*' -o layer.nqz
