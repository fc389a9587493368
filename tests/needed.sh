#!/bin/sh
# What `make test-all` takes and cannot make itself: told before an hour of tests begins, with what to install.
#
#   PYTHON=python3 CXX=c++ needed.sh     exit status 1 where anything is missing
#
# What is only left out where it is missing is told as well: other Pythons, shells, a checker of manuals.
set -u
PYTHON=${PYTHON:-python3}
CXX=${CXX:-c++}
status=0

there() { command -v "$1" >/dev/null 2>&1; }
missing() { # what, whose, what to install
    echo "missing: $1, for $2; install $3 (Debian: apt-get install $4)" >&2
    status=1
}

"$PYTHON" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))' 2>/dev/null ||
    missing "Python 3.10 or later with venv" "everything" "Python" "python3 python3-venv"
"$PYTHON" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' 2>/dev/null ||
    missing "the headers of Python" "the native kernels" "what your system calls python-dev" python3-dev
if ! there "$CXX"; then
    missing "a C++ compiler" "the native kernels" "GCC or Clang" g++
elif [ "$(uname -s)" = Linux ]; then
    case $("$CXX" -print-file-name=libasan.so) in
        /*) ;;
        *) missing "libasan.so of $CXX" "make fuzz" "GCC, or set CXX" g++ ;;
    esac
fi
there chromium || there chromium-browser || there google-chrome ||
    missing "a browser" "make test-report" "Chromium" chromium
if [ ! -e build/arm64/unpacked ] && ! { there apt-get && there dpkg-deb; }; then
    echo "missing: Debian with its package sources, for make test-arm64; run it there, or in a container of it" >&2
    status=1
fi

sh "$(dirname "$0")/pythons.sh" 2>&1 >/dev/null | sed 's/$/: it is left out/'
for program in bash zsh fish mandoc; do there $program || echo "no $program here: what it checks is left out"; done
exit $status
