nqz encode nowhere.npy -r 2
