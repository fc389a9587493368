nqz encode a.npy -r 2 -q
nqz encode a.npy -r 3
