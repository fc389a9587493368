nqz decode
