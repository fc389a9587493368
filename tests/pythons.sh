#!/bin/sh
# Pythons of this machine that nqz supports, a line each: the newest of every minor version, on the PATH or in the folder
# of pyenv. What is not here is told.
versions=${PYENV_ROOT:-$HOME/.pyenv}/versions
for minor in 10 11 12 13 14; do
    newest=$(cd "$versions" 2>/dev/null && ls -d 3.$minor.*/bin/python3.$minor 2>/dev/null | sort -t. -k3n | tail -n 1)
    python=${newest:+$versions/}${newest:-python3.$minor}
    if "$python" -c '' 2>/dev/null; then
        printf '%s\n' "$python"
    else
        echo "no Python 3.$minor here" >&2
    fi
done
