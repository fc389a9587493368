nqz encode a.npy -r 2
nqz encode b.npy -r 2
nqz matmul a.nqz b.nqz -o product.npy
nqz decode a.nqz -o back.npy
nqz verify a.nqz
python -c 'import numpy as np; print(np.load("product.npy").shape, np.load("back.npy").shape)'
