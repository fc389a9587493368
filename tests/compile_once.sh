#!/bin/sh
# Starts a compiler of C++; what it made before of the same text is taken from build/objects.
#
#   CMAKE_CXX_COMPILER_LAUNCHER=.../compile_once.sh cmake ...
#
# Environments of several Pythons, with and without other packages, would each compile the same kernels, minutes each
# time. Only these are kept, which know no Python. What decides is the text after preprocessing, the compiler with its
# version, and all options. Nothing is kept that tells numbers of lines, for debuggers.
set -eu

kept=${NQZ_OBJECTS:-$(cd "$(dirname "$0")/.." && pwd)/build/objects}

output= previous= kernel= lines=
for argument; do
    case $previous in -o) output=$argument ;; esac
    case $argument in
        -DNQZ_ISA=*) kernel=yes ;;
        -g*) lines=yes ;;
    esac
    previous=$argument
done
[ "$kernel$lines" = yes ] && [ "$kernel" ] && [ "$output" ] || exec "$@"

# -P: lines are not numbered, which would name folders.
preprocess() {
    previous=
    for argument; do
        shift
        case $previous in -o) set -- "$@" "$work/text" ;; *) set -- "$@" "$argument" ;; esac
        previous=$argument
    done
    "$@" -E -P
}

mkdir -p "$kept"
work=$(mktemp -d "$kept/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
preprocess "$@"  # writes the list of headers, too, where options ask for it
{
    "$1" --version | sed '1s/^[^ ]* //'  # which of its names it was called by does not matter
    for argument; do
        case $argument in "$output" | "$output.d" | /*) ;; *) printf '%s\n' "$argument" ;; esac
    done
    cat "$work/text"
} >"$work/all"
name=$(cksum <"$work/all" | tr ' ' -)
if [ ! -e "$kept/$name" ] || ! cmp -s "$work/all" "$kept/$name/all"; then
    "$@"
    cp "$output" "$work/object"
    rm -f "$work/text"
    rm -rf "${kept:?}/$name"
    mkdir "$kept/$name.$$" && mv "$work/object" "$work/all" "$kept/$name.$$" && mv "$kept/$name.$$" "$kept/$name"
fi
cp "$kept/$name/object" "$output"
