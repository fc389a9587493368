"""What help says of each command beside the sentences of its options: one table, which ``nqz --help`` reads alone.

By command it has a summary, the groups of the options in their order, and examples. `nqz.cli.page` lays it out for
terminals, `nqz.cli.manual` for man, `nqz.cli.completion` for shells.
"""

from __future__ import annotations

from typing import NamedTuple

COMMON, CODEC, EXPERT = "Options", "Codec options", "Expert options"
EVERY = "Options of every command"
GROUPS = (COMMON, CODEC, EXPERT, EVERY)
"""Titles of the groups, in the order in which they are shown."""

_EVERY = ("--threads", "--quiet", "--progress", "--help")


class Page(NamedTuple):
    """What the help of a command says beside the sentences of its options.

    Attributes
    ----------
    summary : str
        A line about it, for lists of commands.
    examples : tuple of (str, str)
        What each does, and the command line.
    common, codec, expert : tuple of str
        Long names of its options by group, in the order in which they are shown; those of every command are known.
    """

    summary: str
    examples: tuple[tuple[str, str], ...]
    common: tuple[str, ...] = ()
    codec: tuple[str, ...] = ()
    expert: tuple[str, ...] = ()

    def group(self, name: str) -> tuple[str, int]:
        """The group that the option with a long name is in, and its place there; raises KeyError without one."""
        for title, names in zip(GROUPS, (self.common, self.codec, self.expert, _EVERY), strict=True):
            if name in names:
                return title, names.index(name)
        raise KeyError(name)


PAGES = {
    "encode": Page(
        "Compress a matrix, a file of them, or a model.",
        (
            ("Three bits per entry, into a.nqz", "nqz encode a.npy -r 3"),
            (
                "Some weights of a model, stored [out, in]",
                "nqz encode model.safetensors -r 4 --axis 1 --tensor 'layer.*' -o some.nqz",
            ),
            ("A model: MODEL-nqz is a folder like MODEL", "nqz encode MODEL -r 4"),
            (
                "The plan of one within 80 kB, some of its tensors as they are",
                "nqz encode MODEL --max-bytes 80kB --rule '*bias=exact' --rule 'layer.*=5' --dry-run",
            ),
            ("The smallest file with a predicted error of 0.01, and a report", "nqz encode b.npy --error 0.01 --json"),
        ),
        common=(
            "--rate", "--error", "--max-bytes", "--output", "--out-dir", "--force", "--axis", "--tensor", "--rule",
            "--across", "--dry-run", "--dequantize", "--metadata",
            "--cluster", "--json",
        ),
        codec=("--lattice", "--states", "--coding", "--window", "--allocate", "--partner"),
        expert=("--seed", "--center", "--kappa"),
    ),
    "decode": Page(
        "Rebuild what a container was made from.",
        (
            ("Into a.npy, or what else it was made from", "nqz decode a.nqz -o back.npy"),
            (
                "Some tensors of a model, in single precision",
                "nqz decode model.nqz --tensor 'layer.*' --dtype float32 -o some.safetensors",
            ),
            ("A model, into a folder that loads as the original does", "nqz decode MODEL-nqz -o COPY"),
            ("As a part of a pipeline", "nqz decode - < a.nqz > same.npy"),
        ),
        common=("--output", "--out-dir", "--force", "--tensor", "--dtype", "--cluster", "--json"),
        expert=("--estimator",),
    ),
    "matmul": Page(
        "Estimate AᵀB from compressed files.",
        (
            ("All inner products of the columns of two matrices", "nqz matmul a.nqz b.nqz -o product.npy"),
            ("One of the two not compressed, and a report", "nqz matmul a.nqz b.npy -o plain.npy --json"),
            ("With the standard deviation of every entry", "nqz matmul a.nqz b.nqz -o c.npy --sigma sigma.npy"),
            ("To standard output", "nqz matmul a.nqz b.nqz > again.npy"),
        ),
        common=(
            "--output", "--sigma", "--force", "--tensor-a", "--tensor-b", "--axis-a", "--axis-b", "--dtype",
            "--cluster", "--json",
        ),
        expert=("--estimator",),
    ),
    "search": Page(
        "Find the vectors of compressed files most like others.",
        (
            ("The ten largest inner products of each column of b.npy", "nqz search a.nqz b.npy"),
            (
                "The five nearest, exactly: few vectors of a.npy are read",
                "nqz search a.nqz b.npy -k 5 --metric l2 --rerank a.npy",
            ),
            ("Indices, scores and standard deviations", "nqz search a.nqz b.nqz --metric cosine -o hits.npz"),
        ),
        common=(
            "-k", "--metric", "--rerank", "--output", "--force", "--tensor", "--tensor-queries", "--axis-queries",
            "--cluster", "--json",
        ),
        expert=("--risk",),
    ),
    "inspect": Page(
        "Show what a container holds.",
        (
            ("Rate, sizes and expected errors of every tensor", "nqz inspect model.nqz"),
            ("The largest tensors first", "nqz inspect model.nqz --sort size"),
            ("The same for programs", "nqz inspect a.nqz --json"),
        ),
        common=("--tensor", "--sort", "--json"),
    ),
    "verify": Page(
        "Check a container, and how close it is to its original.",
        (
            ("Every checksum", "nqz verify a.nqz"),
            ("The error of every matrix beside its prediction", "nqz verify a.nqz --against a.npy"),
            ("Not more than 20 % rms, whatever is predicted", "nqz verify a.nqz --against a.npy --max-error 0.04"),
        ),
        common=("--against", "--max-error", "--cluster", "--json"),
    ),
    "set": Page(
        "Make and change part sets: matrices in parts.",
        (
            ("Four parts of a.npy, under one manifest", "nqz set create a.npy -r 3 --parts 2x2 -o parts.nqzset"),
            ("Two files as the parts of one matrix", "nqz set create a.npy b.npy -r 3 -o both.nqzset"),
            ("The manifest, and every part", "nqz set check parts.nqzset"),
            ("A set for each part along the vectors, and one of both", "nqz set split parts.nqzset"),
            ("", "nqz set concat parts-0.nqzset parts-1.nqzset -o again.nqzset"),
        ),
        common=(
            "--rate", "--error", "--parts", "--along", "--output", "--force", "--axis", "--tensor", "--dequantize",
            "--metadata", "--cluster", "--json",
        ),
        codec=("--lattice", "--states", "--coding", "--window", "--allocate", "--partner"),
        expert=("--seed", "--center", "--kappa"),
    ),
    "compare": Page(
        "Show where an error comes from, and what bits would do.",
        (
            ("Which tensors of a model the error comes from", "nqz compare model.safetensors model.nqz"),
            ("By name, for programs", "nqz compare model.safetensors model.nqz --sort name --json"),
        ),
        common=("--sort", "--across", "--max-error", "--json"),
    ),
    "diff": Page(
        "Show what differs between two containers.",
        (
            ("Tensors, sizes, rates, errors and settings", "nqz diff a.nqz b.nqz || echo they differ"),
            ("The same for programs, where they may differ", "nqz diff a.nqz b.nqz --json > d.json || test $? = 1"),
        ),
        common=("--against", "--max-error", "--json"),
    ),
    "report": Page(
        "Write a page that shows what is in a container.",
        (
            ("A page that stands alone, a.html", "nqz report a.nqz"),
            ("With what was measured against the original", "nqz report a.nqz --against a.npy -o measured.html"),
            ("What to expect of a product", "nqz report a.nqz b.nqz -o product.html"),
            ("A section for a model card", "nqz report model.nqz -o card.md"),
        ),
        common=(
            "--against", "--max-error", "--format", "--output", "--force", "--tensor-a", "--tensor-b", "--axis-a",
            "--axis-b",
        ),
    ),
    "sweep": Page(
        "Show what R bits buy for a matrix of yours.",
        (
            ("A table: error against rate, for three lattices", "nqz sweep a.npy"),
            ("Two rates, the product with another matrix", "nqz sweep a.npy --against b.npy -r 2,4 -o sweep.csv"),
            ("A plot, and the least rate for an error of 0.01, 10 % rms", "nqz sweep a.npy --error 0.01 -o rd.png"),
        ),
        common=(
            "--rate", "--mark", "--error", "--against", "--output", "--force", "--theme", "--width", "--axis",
            "--axis-against", "--tensor", "--tensor-against", "--json",
        ),
        codec=("--lattice", "--states", "--coding", "--window", "--partner"),
        expert=("--seed",),
    ),
    "plan": Page(
        "Divide bits between the two sides of a product.",
        (
            ("The commands that encode both with 2 bits per entry in all", "nqz plan a.npy b.npy --bits 2"),
            ("As few bits as have a predicted error of 0.01, for programs", "nqz plan a.npy b.npy --error 0.01 --json"),
        ),
        common=("--bits", "--error", "--tensor-a", "--tensor-b", "--axis-a", "--axis-b", "--force", "--json"),
        codec=("--lattice", "--states"),
    ),
    "completion": Page(
        "Print a script that makes a shell complete nqz.",
        (
            ("For bash, always", "nqz completion bash > ~/.local/share/bash-completion/completions/nqz"),
            ("For bash, now", 'eval "$(nqz completion bash)"'),
            ("For zsh, in a folder of its $fpath", "nqz completion zsh > ~/.zfunc/_nqz"),
            ("For fish", "nqz completion fish > ~/.config/fish/completions/nqz.fish"),
        ),
    ),
    "help": Page(
        "Show the help of a command.",
        (("What encode can do", "nqz help encode"), ("All commands", "nqz help")),
    ),
}  # fmt: skip
"""The pages of all commands, by name."""

EXAMPLES = (
    ("Compress two matrices to 3 bits per entry", "nqz encode a.npy -r 3"),
    ("", "nqz encode b.npy -r 3"),
    ("Estimate their product from the compressed files", "nqz matmul a.nqz b.nqz -o product.npy"),
    ("Look at one, and rebuild it", "nqz inspect a.nqz"),
    ("", "nqz decode a.nqz -o back.npy"),
)
"""Those of nqz itself."""

EXIT_STATUS = {
    "0": "success",
    "1": "diff: the two differ; else an internal error, or out of memory",
    "2": "usage",
    "3": "an input cannot be read",
    "4": "an input is of another kind, not supported, or not finite",
    "5": "a file is corrupt",
    "6": "a file is of a newer format",
    "7": "operands do not fit together",
    "8": "verify, compare, report and diff with --against: further from the original than predicted, or than "
    "--max-error allows",
    "9": "the output exists (see --force), or is an input",
    "10": "the output cannot be written",
    "11": "the disk is full",
    "130": "interrupted",
    "141": "closed pipe",
    "143": "terminated",
}

ENVIRONMENT = {
    "NQZ_THREADS": "Worker threads where --threads is not given.",
    "NQZ_KERNELS": "Which kernels to use, such as avx2 or reference; the best by default. Bytes are the same.",
    "NQZ_TRACEBACK": "With 1, an internal error shows where it happened.",
    "NO_COLOR": "If it is not empty, nothing is colored, as where TERM is dumb, and on what is no terminal.",
    "FORCE_COLOR": "If it is not empty, reports are colored everywhere, unless NO_COLOR is set.",
}
