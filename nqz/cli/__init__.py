"""The command line. Its commands are imported when they are used, so that ``nqz --version`` stays quick."""

from __future__ import annotations

import errno
import gc
import importlib
import os
import sys
import traceback
import warnings
from collections.abc import Sequence

import click

from nqz._version import __version__
from nqz.cli import signals
from nqz.cli.text import escape, report
from nqz.ground.errors import DiskFullError, NqzError, OutputError

_COMMANDS = ("encode", "decode", "matmul", "inspect", "verify", "compare", "sweep")

_EPILOG = """\b
Exit status:
    0  success
    1  internal error
    2  usage
    3  an input cannot be read
    4  an input is of another kind, not supported, or not finite
    5  a file is corrupt
    6  a file is of a newer format
    7  operands do not fit together
    8  verify, compare: further from the original than predicted
    9  the output exists (see --force), or is an input
   10  the output cannot be written
   11  the disk is full
  130  interrupted; 141  closed pipe; 143  terminated
"""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        with signals.held():  # the import system would swallow the exception
            command: click.Command = importlib.import_module(f"nqz.cli.{cmd_name}").command
        return command


@click.command(
    cls=_Commands,
    epilog=_EPILOG,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="nqz", message="%(prog)s %(version)s")
def app() -> None:
    """Compress matrices to R bits per entry, and estimate AᵀB from two compressed files.

    \b
        nqz encode a.npy -r 2
        nqz encode b.npy -r 2
        nqz matmul a.nqz b.nqz -o product.npy
    """  # noqa: D301  (click wants the character)


def run(arguments: Sequence[str]) -> int:
    """Run a command line in this process and return its exit status."""
    try:
        # not click's own main(): it turns a closed pipe and Ctrl-C into exit status 1
        with app.make_context("nqz", list(arguments)) as context:
            app.invoke(context)
        return 0
    except click.exceptions.Exit as error:
        if error.exit_code == 0 and sys.stdout is None:  # --help and --version are all that leave so
            report("nqz: error: <stdout>: standard output is closed")
            return OutputError.exit_code
        return error.exit_code
    except click.UsageError as error:
        if error.ctx is not None:
            report(error.ctx.get_usage().replace("\n", " "))
        hint = "" if error.ctx is None else f" (try '{error.ctx.command_path} --help')"
        report(f"nqz: error: {escape(error.format_message())}{hint}")
        return 2
    except NqzError as error:
        report(f"nqz: error: {escape(str(error))}")
        return error.exit_code
    except BrokenPipeError:
        return 141
    except (KeyboardInterrupt, click.Abort):
        return _signalled("interrupted", 130)
    except signals.Signalled as error:
        return _signalled(*signals.MEANING[error.number])
    except OSError as error:  # what writes payload has errors of its own; --help and --version are click's
        if error.errno == errno.ENOSPC:
            report(
                "nqz: error: <stdout>: cannot write: no space left on device; free some space or write elsewhere"
            )
            return DiskFullError.exit_code
        return _internal(error)
    except MemoryError:
        report("nqz: error: not enough memory")
        return 1
    except Exception as error:
        return _internal(error)


def _internal(error: Exception) -> int:
    if os.environ.get("NQZ_TRACEBACK") == "1":
        report(traceback.format_exc())
    report(f"nqz: internal error: {escape(f'{type(error).__name__}: {error}')} (NQZ_TRACEBACK=1 shows where)")
    return 1


def _signalled(what: str, code: int) -> int:
    report(f"nqz: error: {what}")
    return code


def main() -> int:
    """Entry point of the program: `run` on the arguments of the process, with its signals handled."""
    try:
        code = _main()
        signals.ignore()
    except signals.Signalled as error:  # before the command, or after it; there is no second one
        code = _signalled(*signals.MEANING[error.number])
        signals.ignore()
    if code:
        _drop_standard_output()
    return code


def _main() -> int:
    signals.install()
    # next to nothing here is cyclic, and to look for it while importing takes a tenth of that
    gc.set_threshold(100_000)
    if not sys.warnoptions:  # those of libraries are for developers, who ask for them with python -W
        warnings.simplefilter("ignore")
    code = run(sys.argv[1:])
    signals.finished()
    if code == 0 and sys.stdout is not None:
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            code = 141
        except OSError as error:
            report(f"nqz: error: <stdout>: cannot write: {escape(str(error.strerror).lower())}")
            code = OutputError.exit_code
    return code


def _drop_standard_output() -> None:
    """What could not be written must not fail again when the interpreter flushes on exit."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.close(null)
    except OSError:
        return
