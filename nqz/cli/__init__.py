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
from nqz.cli.page import Context, Documented, write_examples
from nqz.cli.text import escape
from nqz.cli.text import report as tell
from nqz.ground.errors import DiskFullError, NqzError, OutputError
from nqz.ground.notices import told_by

_COMMANDS = (
    "encode",
    "decode",
    "matmul",
    "search",
    "inspect",
    "verify",
    "set",
    "compare",
    "diff",
    "report",
    "sweep",
    "plan",
    "completion",
)


class _Commands(click.Group):
    context_class = Context

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*_COMMANDS, "help"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "help":
            return _help
        if cmd_name not in _COMMANDS:
            return None
        with signals.held():  # the import system would swallow the exception
            command: click.Command = importlib.import_module(f"nqz.cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """See click; of a command that is not there, say which may be meant."""
        name = args[0]
        if name in self.list_commands(ctx) or name.startswith("-"):
            return super().resolve_command(ctx, args)
        from nqz.cli.mistyped import advice

        raise click.UsageError(f"no such command {name!r}{advice(name, self.list_commands(ctx))}", ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands by the table of help, which imports none of them; then options and what all share."""
        from nqz.cli import help as table

        with formatter.section("Commands"):
            formatter.write_dl([(name, table.PAGES[name].summary) for name in self.list_commands(ctx)])
        click.Command.format_options(self, ctx, formatter)
        write_examples(formatter, table.EXAMPLES)
        for title, rows in (("Environment", table.ENVIRONMENT), ("Exit status", table.EXIT_STATUS)):
            with formatter.section(title):
                formatter.write_dl(list(rows.items()))


@click.group(
    "nqz",
    cls=_Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(
    __version__, "-V", "--version", prog_name="nqz", message="%(prog)s %(version)s", help="Show the version."
)
@click.pass_context
def app(context: click.Context) -> None:
    """Compress matrices to R bits per entry, and estimate AᵀB from two compressed files.

    A column is a vector, and the product has all inner products of the vectors of two files. "nqz COMMAND --help" lists
    what a command can do, and "man nqz" has all of it. Wherever a file is named, it may be an address, such as
    s3://bucket/a.nqz or https://host/a.nqz.
    """
    if context.invoked_subcommand is None:
        _show_help(context)


@click.command("help", cls=Documented)
@click.argument("name", metavar="[COMMAND]", required=False)
@click.pass_context
def _help(context: click.Context, name: str | None) -> None:
    """Show the help of COMMAND; without one, that of nqz, which lists all commands."""
    root = context.find_root()
    if name is not None:
        found, command, _ = app.resolve_command(root, [name])
        if command is None:  # "-x"
            raise click.UsageError(f"no such command {name!r}", root)
        root = command.make_context(found, ["--"], parent=root, resilient_parsing=True)
    _show_help(root)


def _show_help(context: click.Context) -> None:
    if sys.stdout is None:
        raise OutputError("<stdout>: standard output is closed")
    click.echo(context.get_help(), color=context.color)


def run(arguments: Sequence[str]) -> int:
    """Run a command line in this process and return its exit status."""
    try:
        # not click's own main(): it turns a closed pipe and Ctrl-C into exit status 1
        with app.make_context("nqz", list(arguments)) as context:
            context.call_on_close(lambda: told_by(None))
            app.invoke(context)
        return 0
    except click.exceptions.Exit as error:
        if error.exit_code == 0 and sys.stdout is None:  # --help and --version are all that leave so
            tell("nqz: error: <stdout>: standard output is closed")
            return OutputError.exit_code
        return error.exit_code
    except click.UsageError as error:
        if error.ctx is not None:
            tell(click.unstyle(error.ctx.get_usage()).replace("\n", " "))
        hint = "" if error.ctx is None else f" (try '{error.ctx.command_path} --help')"
        tell(f"nqz: error: {escape(_wrong(error))}{hint}")
        return 2
    except NqzError as error:
        tell(f"nqz: error: {escape(str(error))}")
        return error.exit_code
    except BrokenPipeError:
        return 141
    except (KeyboardInterrupt, click.Abort):
        return _signalled("interrupted", 130)
    except signals.Signalled as error:
        return _ended(error)
    except OSError as error:  # what writes payload has errors of its own; --help and --version are click's
        if error.errno == errno.ENOSPC:
            tell(
                "nqz: error: <stdout>: cannot write: no space left on device; free some space or write elsewhere"
            )
            return DiskFullError.exit_code
        return _internal(error)
    except MemoryError:
        tell("nqz: error: not enough memory")
        return 1
    except Exception as error:
        return _internal(error)


def _wrong(error: click.UsageError) -> str:
    """What click found wrong, in one line, and what may be meant."""
    text = " ".join(line.strip() for line in error.format_message().split("\n"))
    if not isinstance(error, click.NoSuchOption) or error.ctx is None:
        return text
    from nqz.cli.mistyped import option_advice

    params = error.ctx.command.get_params(error.ctx)
    options = [[*p.opts, *p.secondary_opts] for p in params if isinstance(p, click.Option)]
    return error.message.rstrip(".") + option_advice(error.option_name, options)


def _internal(error: Exception) -> int:
    if os.environ.get("NQZ_TRACEBACK") == "1":
        tell(traceback.format_exc())
    tell(f"nqz: internal error: {escape(f'{type(error).__name__}: {error}')} (NQZ_TRACEBACK=1 shows where)")
    return 1


def _ended(signal: signals.Signalled) -> int:
    what, code = signals.MEANING[signal.number]
    return _signalled(what, code) if signals.first() else code


def _signalled(what: str, code: int) -> int:
    tell(f"nqz: error: {what}")
    return code


def main() -> int:
    """Entry point of the program: `run` on the arguments of the process, with its signals handled."""
    try:
        code = _main()
        signals.ignore()
    except signals.Signalled as error:  # before the command, or after it; there is no second one
        code = _ended(error)
        signals.ignore()
    if code:
        _drop_standard_output()
    _leave_memory()
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
            tell(f"nqz: error: <stdout>: cannot write: {escape(str(error.strerror).lower())}")
            code = OutputError.exit_code
    return code


def _leave_memory() -> None:
    """Keep the interpreter, which is about to exit, from collecting all that there is: the system takes it back."""
    native = sys.modules.get("nqz.kernels._native")
    if native is None or getattr(native, "may_leak", False):
        gc.freeze()


def _drop_standard_output() -> None:
    """What could not be written must not fail again when the interpreter flushes on exit."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.close(null)
    except OSError:
        return
