nqz encode a.npy -r 2 -q
python -c 'import numpy as np; np.save("c.npy", np.load("a.npy")[::-1])'
nqz verify a.nqz --against c.npy
