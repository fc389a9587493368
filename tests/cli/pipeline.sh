# a whole pipeline without a file in between, the same bytes as with files
nqz encode - -q -r 3 < a.npy | nqz matmul - b.npy -q > piped.npy
nqz encode a.npy -q -r 3
nqz matmul a.nqz b.npy -q -o file.npy
cmp piped.npy file.npy
nqz decode a.nqz -q -o back.npy
nqz encode a.npy -q -r 3 -o - | nqz decode - -q | cmp - back.npy
nqz encode a.npy -q -r 3 -o - | nqz verify - --against a.npy -q
