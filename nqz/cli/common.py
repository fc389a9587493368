"""Options that commands share, names of outputs, and notices."""

from __future__ import annotations

import math
import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import click

from nqz import kernels
from nqz.cli import signals
from nqz.cli.parameters import JsonOption, Threads
from nqz.cli.progress import Files, Progress, Silent, Stages, progress
from nqz.cli.text import escape, report
from nqz.files.arrays import beside, format_at
from nqz.files.places import is_folder
from nqz.ground.errors import UsageError
from nqz.ground.notices import told_by
from nqz.ground.sources import SOURCES, listed
from nqz.ground.urls import base, folder_of, is_url, suffix, takes_nothing, with_suffix
from nqz.ground.urls import shown as shown_url
from nqz.ground.wording import counted

if TYPE_CHECKING:
    from nqz.files.folder import OutputFolder
    from nqz.files.output import Output


class Notices:
    """Warnings, summary and progress of a command, unless ``-q``."""

    def __init__(self, quiet: bool, show_progress: bool | None):
        self.quiet, self._show = quiet, show_progress
        told_by(self.note)
        if kernels.name == "reference" and not os.environ.get("NQZ_KERNELS"):
            self.warn("the native kernels are not installed; the plain ones in use are slow")

    def warn(self, text: str) -> None:
        """Write a warning."""
        if not self.quiet:
            report(f"nqz: warning: {escape(text)}")

    def note(self, text: str) -> None:
        """Write something to know about the result."""
        if not self.quiet:
            report(f"nqz: note: {escape(text)}")

    def summary(self, text: str) -> None:
        """Write the one line about what was done."""
        if not self.quiet:
            report(f"nqz: {escape(text)}")

    def progress(
        self, what: str, sizes: Mapping[Any, float], stages: Mapping[Any, Stages] | None = None,
        files: Files | None = None,
    ) -> Progress | Silent:  # fmt: skip
        """A progress bar or lines, if wanted; see `nqz.cli.progress.Progress`."""
        return progress(what, sizes, self._show, self.quiet, stages, files)


def common_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options of every command: --threads, --quiet, --progress."""
    function = click.option(
        "--progress/--no-progress", "show_progress", default=None,
        help="Show progress, in a log as a line every 10 seconds; by default on a terminal only.",
    )(function)  # fmt: skip
    function = click.option(
        "-q", "--quiet", is_flag=True, help="Show no warnings and no summary, errors only."
    )(function)
    return click.option(
        "--threads", type=Threads(), metavar="N", envvar="NQZ_THREADS",
        help="Use N threads; by default the number in NQZ_THREADS, or all processors.",
    )(function)  # fmt: skip


def json_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Option of commands that tell of what they did: --json."""
    return click.option(
        "--json", "json_to", cls=JsonOption,
        help="Report what was done as JSON, on standard output or to FILE.json (--json=FILE for another name).",
    )(function)  # fmt: skip


def force_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Option of commands that write: --force."""
    return click.option("-f", "--force", is_flag=True, help="Replace an existing output.")(function)


def output_options(help_text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Options of every command that writes: --output, --force."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        return click.option("-o", "--output", metavar="OUT", help=help_text)(force_option(function))

    return decorate


def open_output(target: str, force: bool, inputs: Iterable[Any]) -> AbstractContextManager[Output]:
    """An output that leaves nothing behind, whatever ends the command; `inputs` are the opened inputs."""
    from nqz.files.output import Output

    check_output(target)
    inputs = list(inputs)
    identities = [opened.identity for opened in inputs]

    def check() -> None:
        for opened in inputs:
            opened.check()

    return signals.cleaned(lambda: Output(target, force=force, inputs=identities, check=check))


def open_folder(
    target: str, force: bool, paths: Iterable[str], inputs: Iterable[Any]
) -> AbstractContextManager[OutputFolder]:
    """A folder to be written, that leaves nothing behind, whatever ends the command.

    Parameters
    ----------
    paths : iterable of str
        Files and folders that are read.
    inputs : iterable
        The opened inputs.
    """
    from nqz.files.places import output_folder

    check_output(target)
    found = suffix(target)
    if found in (*SOURCES, "nqz"):  # whoever sees it would take it for one
        folder = os.path.splitext(shown_url(target))[0]
        raise UsageError(
            f"{target}: a model becomes a folder, and no .{found} file; name a folder, such as {folder}"
        )
    inputs = list(inputs)

    def check() -> None:
        for opened in inputs:
            opened.check()

    return signals.cleaned(lambda: output_folder(target, force=force, inputs=paths, check=check))


_DESCRIPTOR = re.compile(r"/dev/(stdin|fd/\d+)|/proc/(self|thread-self|\d+)/fd/\d+")


def default_output(path: str, suffixes: Iterable[str], new: str) -> str:
    """The output where none is named: the input with another suffix in place of one of `suffixes`, or behind its name.

    Of what has no name of its own, such as standard input or a pipe, it is standard output. Of an object of a store
    that takes none it is a file here.
    """
    known = format_at(path)
    if known is not None:  # beside the folder, and not in it
        path = beside(path, known)
        return f"{base(path) if takes_nothing(path) else path}.{new}"
    if is_url(path):
        return with_suffix(base(path) if takes_nothing(path) else path, suffixes, new)
    if path == "-" or _is_special(path) or _DESCRIPTOR.fullmatch(os.path.abspath(path)):
        return "-"
    return with_suffix(path, suffixes, new)


_FOLDER = "-nqz"


def default_folder(path: str) -> str:
    """The folder that a model in a folder is compressed to, where none is named: beside it, NAME-nqz."""
    return _folder(path) + _FOLDER


def default_original(path: str) -> str:
    """The folder that a compressed model is decoded to, where none is named: NAME for NAME-nqz, else NAME-decoded."""
    folder = _folder(path)
    stem = folder.removesuffix(_FOLDER)
    return stem if stem != folder and os.path.basename(stem) else f"{folder}-decoded"


def _folder(path: str) -> str:
    """The folder of a model, which may be given by its index; with a name of its own."""
    folder = folder_of(path) if shown_url(path).endswith(".index.json") or not is_folder(path) else path
    if is_url(path):
        return base(folder.rstrip("/")) or "model" if takes_nothing(folder) else folder.rstrip("/")
    name = os.path.normpath(folder or ".")
    return os.path.abspath(name) if os.path.basename(name) in ("", ".", "..") else name


def check_output(target: str) -> None:
    """Raise UsageError for an output without a name, such as the value of an unset variable."""
    if not target:
        raise UsageError("-o '': the name of the output is empty")


def kind_of(target: str, otherwise: str, kinds: Sequence[str] = tuple(SOURCES)) -> str:
    """Format of an output from its suffix; `otherwise` for standard output, pipes and devices.

    Raises
    ------
    UsageError
        The name is empty, or the suffix is none of `kinds`.
    """
    check_output(target)
    found = suffix(target)
    if found in kinds:
        return found
    if target == "-" or _is_special(target):
        return otherwise
    raise UsageError(f"{target}: the suffix of the output must be {listed(kinds)}")


def _is_special(path: str) -> bool:
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def shown(path: str, standard: str) -> str:
    """A path as notices call it; `standard` for ``-``."""
    return standard if path == "-" else shown_url(path)


def bytes_text(containers: int, size: int, beside: int = 0) -> str:
    """How many bytes there are in some containers, and in what lies beside them."""
    if containers == 1 and not beside:
        return counted(size, "byte")
    inside = f"{counted(size, 'byte')} in {counted(containers, 'container')}"
    if not beside:
        return inside
    return f"{counted(size + beside, 'byte')} ({inside}, {beside} of index and copies)"


def shape_text(shape: Iterable[int]) -> str:
    """A shape as 4096x1024; () for a scalar."""
    return "x".join(map(str, shape)) or "()"


RECONSTRUCTION, PRODUCT = "‖Ā‖²", "‖Ā‖²‖B̄‖²/n"
"""What errors of a matrix, and of a product, are relative to."""

RMS = "rms: root of the error, in per cent"


def errors_text(values: Iterable[float], unit: str) -> str:
    """An error, or the range of several: as a share of `unit`, and as a root mean square in per cent."""
    values = list(values)
    return f"{span(values)} of {unit} ({span(map(rms, values))} % rms)"


def rms(error: float) -> float:
    """The root of a relative squared error in per cent."""
    return 100.0 * math.sqrt(max(error, 0.0))


def rms_cell(error: float | None) -> str:
    """The same for a table, empty where there is none."""
    return "" if error is None else f"{rms(error):.3g}"


def span(values: Iterable[float]) -> str:
    """A number, or the range of several."""
    texts = [f"{f(values):.3g}" for f in (min, max)] if (values := list(values)) else ["none"]
    return texts[0] if texts[0] == texts[-1] else " to ".join(texts)
