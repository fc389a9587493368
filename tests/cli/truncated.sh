nqz encode a.npy -r 2 -q
head -c 3000 a.nqz > cut.nqz
nqz decode cut.nqz
