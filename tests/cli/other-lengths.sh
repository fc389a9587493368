nqz encode a.npy -r 2 -q
nqz encode model.safetensors -r 4 -q
nqz matmul a.nqz model.nqz --tensor-b head.weight -o product.npy
