nqz --help
python -m nqz --version
