#!/bin/sh
# Tests the kernels of arm64 on another machine, by emulation; README.md tells what, and what for.
#
#   run.sh [STEP...]   the steps, in order: unpack, build, test, compare; and, by request, count
#
# Needs Debian with its package sources, and in $PYTHON an environment with nqz, cmake, ninja and pip. All that it
# fetches and makes goes to build/arm64.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
PYTHON=${PYTHON:-$PWD/.venv/bin/python}
NQZ_ARM64=$PWD/build/arm64
export NQZ_ARM64
unset LD_LIBRARY_PATH LD_PRELOAD PYTHONPATH PYTHONHOME LDFLAGS

say() { printf '== %s\n' "$*"; }

# apt-get with lists, archives and records of its own. $1: the set of packages; $2: its architecture.
private_apt() {
    set_of=$1 arch=$2
    shift 2
    APT_CONFIG='' apt-get -c "$NQZ_ARM64/apt/apt.conf" -o "APT::Architecture=$arch" \
        -o "Dir::State::status=$NQZ_ARM64/apt/$set_of.status" -o "Dir::Cache::archives=$NQZ_ARM64/apt/$set_of" "$@"
}

# Unpacks packages and whatever they need. $1: the set; $2: its architecture; $3: where to.
unpack_packages() {
    set_of=$1 arch=$2 to=$3
    shift 3
    mkdir -p "$NQZ_ARM64/apt/$set_of/partial" "$to"
    private_apt "$set_of" "$arch" install -qq -y --download-only --no-install-recommends "$@"
    for package in "$NQZ_ARM64/apt/$set_of"/*.deb; do dpkg-deb -x "$package" "$to"; done
}

unpack_tools() {
    if [ "$NQZ_ARM64/unpacked" -nt "$here/run.sh" ]; then return; fi
    say "unpacking a cross compiler, an emulator and a Python for arm64 in build/arm64"
    rm -rf "$NQZ_ARM64"
    mkdir -p "$NQZ_ARM64/apt/lists/partial"
    host=$(dpkg --print-architecture)
    cat >"$NQZ_ARM64/apt/apt.conf" <<CONF
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
APT::Architectures { "$host"; "arm64"; };
APT::Sandbox::User "";
Acquire::Languages "none";
Debug::NoLocking "true";
Dir::State "$NQZ_ARM64/apt";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Dpkg::Use-Pty "false";
CONF
    # What this machine has need not be unpacked, but for the tools themselves; the root of arm64 begins empty.
    awk 'BEGIN { RS = ""; ORS = "\n\n" } !/^Package: [^\n]*(aarch64-linux-gnu|arm64-cross|qemu-user)/' \
        /var/lib/dpkg/status >"$NQZ_ARM64/apt/tools.status"
    : >"$NQZ_ARM64/apt/root.status"
    private_apt tools "$host" update -qq
    unpack_packages tools "$host" "$NQZ_ARM64/tools" g++-aarch64-linux-gnu qemu-user
    unpack_packages root arm64 "$NQZ_ARM64/root" python3 libpython3-dev libstdc++6
    rm -rf "$NQZ_ARM64/apt"

    cat >"$NQZ_ARM64/with_tools" <<'WRAPPER'
#!/bin/sh
# Runs a program that may use the tools.
tools=$(cd "$(dirname "$0")" && pwd)/tools/usr
export PATH="$tools/bin:$PATH" LD_LIBRARY_PATH="$(echo "$tools"/lib/*-linux-gnu | tr ' ' :)"
exec "$@"
WRAPPER
    cat >"$NQZ_ARM64/emulate" <<'WRAPPER'
#!/bin/sh
# Runs a program of arm64; $NQZ_EMULATE holds options of the emulator.
arm64=$(cd "$(dirname "$0")" && pwd)
exec "$arm64/with_tools" qemu-aarch64 ${NQZ_EMULATE:-} -U LD_LIBRARY_PATH -L "$arm64/root" "$@"
WRAPPER
    cat >"$NQZ_ARM64/python" <<'WRAPPER'
#!/bin/sh
# Python on arm64, with the kernels, what they need and the tests' tools.
arm64=$(cd "$(dirname "$0")" && pwd)
export PYTHONPATH="$arm64/${NQZ_PACKAGE:-package}:$arm64/site" PYTHONSAFEPATH=1 PYTHONDONTWRITEBYTECODE=1
exec "$arm64/emulate" "$arm64/root/usr/bin/python3" "$@"
WRAPPER
    # For tests that compile.
    cat >"$NQZ_ARM64/c++" <<'WRAPPER'
#!/bin/sh
arm64=$(cd "$(dirname "$0")" && pwd)
exec "$arm64/with_tools" "$arm64/tools/usr/bin/aarch64-linux-gnu-g++" "--sysroot=$arm64/tools" "$@"
WRAPPER
    chmod +x "$NQZ_ARM64/c++" "$NQZ_ARM64/with_tools" "$NQZ_ARM64/emulate" "$NQZ_ARM64/python"
    touch "$NQZ_ARM64/unpacked"
}

# The Python packages that nqz needs to run, to be built and to be tested; anew where they change.
install_site() {
    requirements >"$NQZ_ARM64/requirements"
    if cmp -s "$NQZ_ARM64/requirements" "$NQZ_ARM64/site/requirements"; then return; fi
    rm -rf "$NQZ_ARM64/site"
    mkdir -p "$NQZ_ARM64/site"
    # Programs that a test starts must be emulated as well.
    printf 'import sys\n\nsys.executable = "%s"\n' "$NQZ_ARM64/python" >"$NQZ_ARM64/site/sitecustomize.py"
    version=$("$NQZ_ARM64/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    "$PYTHON" -m pip install --quiet --disable-pip-version-check --target "$NQZ_ARM64/site" --only-binary :all: \
        --python-version "$version" --implementation cp \
        --platform manylinux2014_aarch64 --platform manylinux_2_28_aarch64 --requirement "$NQZ_ARM64/requirements"
    cp "$NQZ_ARM64/requirements" "$NQZ_ARM64/site/requirements"
}

requirements() {
    "$PYTHON" - <<'PROGRAM'
try:
    import tomllib
except ImportError:
    from pip._vendor import tomli as tomllib

with open("pyproject.toml", "rb") as file:
    project = tomllib.load(file)["project"]
print(*project["dependencies"], *project["optional-dependencies"]["test"], "nanobind", sep="\n")
PROGRAM
}

unpack() {
    unpack_tools
    install_site
}

# Compiles the kernels and lays nqz with them beside. $1: the folder's name; $2: flags of the compiler, if any.
build_package() {
    package=$1 bin=$(dirname "$PYTHON")
    CXXFLAGS=${2:-} "$NQZ_ARM64/with_tools" "$bin/cmake" -G Ninja -S nqz/kernels -B "$NQZ_ARM64/kernels-$package" \
        -DCMAKE_TOOLCHAIN_FILE="$here/toolchain.cmake" -DCMAKE_BUILD_TYPE=Release \
        -DCMAKE_MAKE_PROGRAM="$bin/ninja" >"$NQZ_ARM64/cmake.log"
    "$NQZ_ARM64/with_tools" "$bin/cmake" --build "$NQZ_ARM64/kernels-$package" >>"$NQZ_ARM64/cmake.log" ||
        { cat "$NQZ_ARM64/cmake.log" >&2 && exit 1; }
    rm -rf "${NQZ_ARM64:?}/$package"
    mkdir -p "$NQZ_ARM64/$package"
    cp -R nqz "$NQZ_ARM64/$package/"
    "$bin/cmake" --install "$NQZ_ARM64/kernels-$package" --prefix "$NQZ_ARM64/$package" >>"$NQZ_ARM64/cmake.log"
}

build() {
    say "compiling the kernels for arm64"
    build_package package
}

run_tests() {
    say "the tests of the kernels, on arm64: $("$NQZ_ARM64/python" -c \
        'from nqz import kernels; print(*kernels.implementations(), sep=", ")')"
    CXX=$NQZ_ARM64/c++ "$NQZ_ARM64/python" -m pytest -q -p no:cacheprovider --numprocesses auto \
        --maxprocesses 8 --dist worksteal ${ARGS:-} tests/test_kernels_*.py
}

compare() {
    say "files of this machine and of arm64"
    mkdir -p "$NQZ_ARM64/files"
    "$PYTHON" "$here/files.py" >"$NQZ_ARM64/files/here"
    for name in $("$NQZ_ARM64/python" -c \
        'from nqz import kernels; print(*(n for n in kernels.implementations() if n != "reference"))'); do
        NQZ_KERNELS=$name "$NQZ_ARM64/python" "$here/files.py" >"$NQZ_ARM64/files/$name"
        diff "$NQZ_ARM64/files/here" "$NQZ_ARM64/files/$name"
        say "$(wc -l <"$NQZ_ARM64/files/$name") files of arm64, $name: every byte is the same"
    done
}

# Plain C++ is what the compiler makes of it, which has NEON too; the last column is without.
count() {
    say "instructions of the kernels"
    build_package package-scalar -march=armv8-a+nosimd
    ${CXX:-c++} -O2 -shared -fPIC "$here/instructions.cpp" -o "$NQZ_ARM64/instructions.so"
    "$PYTHON" "$here/instructions.py" "$NQZ_ARM64/python" "$NQZ_ARM64/instructions.so" \
        package=neon package=baseline package-scalar=baseline
}

[ $# -gt 0 ] || set -- unpack build test compare
for step in "$@"; do
    case $step in
        unpack | build | compare | count) $step ;;
        test) run_tests ;;
        *) echo "run.sh: no step $step" >&2 && exit 2 ;;
    esac
done
