"""``nqz completion``: scripts that hold all commands, options and choices, so that a shell runs nothing to complete."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

import click

from nqz._version import __version__
from nqz.cli.page import Context, Documented, groups
from nqz.cli.parameters import JsonOption, Listed, Offered
from nqz.cli.text import payload, portable

_FILES = {"OUT", "IN", "FILE", "A", "B", "ORIGINAL", "COMPRESSED", "OTHER", "HOW", "MODEL"}
_FOLDERS = {"D", "DIR"}
"""What the values of options that are paths are called."""


class Flag(NamedTuple):
    """An option as shells know it.

    Attributes
    ----------
    names : list of str
    about : str
        What it does, in a few words.
    value : str
        What its value is called; empty if it takes none.
    choices : list of str
        All values, if they are few.
    files, folders : bool
        Whether its value is a path.
    joined : bool
        Whether a value, which may be missing, follows "=" only.
    several : bool
        Whether its value is a list, with commas.
    repeatable : bool
    """

    names: list[str]
    about: str
    value: str
    choices: list[str]
    files: bool = False
    folders: bool = False
    joined: bool = False
    several: bool = False
    repeatable: bool = False


class Subject(NamedTuple):
    """A command as shells know it: what it takes are files, unless there are `choices`."""

    name: str
    about: str
    flags: list[Flag]
    choices: list[str]


def _flag(option: click.Option) -> Iterator[Flag]:
    about = _portable((option.help or "").split("; ")[0].split(" (")[0].rstrip("."))
    if option.is_flag or option.count:
        yield Flag(option.opts, about, "", [])
        if option.secondary_opts:
            yield Flag(option.secondary_opts, f"Not: {about}", "", [])
        return
    kind, value = option.type, option.metavar or option.type.name
    choices = (
        [str(choice) for choice in kind.choices] if isinstance(kind, (click.Choice, Listed, Offered)) else []
    )
    yield Flag(
        option.opts, about, value[1:-1] if value[0] == "[" else value, choices,
        files=value in _FILES or isinstance(option, JsonOption), folders=value in _FOLDERS,
        joined=isinstance(option, JsonOption), several=isinstance(kind, Listed), repeatable=option.multiple,
    )  # fmt: skip


def _subject(command: click.Command, context: click.Context, choices: list[str]) -> Subject:
    options = [option for _, members in groups(command, context) for option in members]
    flags = [flag for option in options if isinstance(option, click.Option) for flag in _flag(option)]
    return Subject(command.name or "", _portable(command.get_short_help_str()), flags, choices)


def _portable(text: str) -> str:
    """Text as standard output can show it, before it is quoted: it may have quotes then."""
    return portable(text, sys.stdout)


def subjects(root: click.Context) -> list[Subject]:
    """All commands, nqz itself before them."""
    group = root.command
    assert isinstance(group, click.Group)
    names = group.list_commands(root)
    found = [_subject(group, root, names)]
    for name in names:
        command = group.get_command(root, name)
        assert command is not None
        kinds = [param.type for param in command.params if isinstance(param, click.Argument)]
        words = [str(word) for kind in kinds if isinstance(kind, click.Choice) for word in kind.choices]
        choices = names if name == "help" else words
        found.append(_subject(command, Context(command, info_name=name, parent=root), choices))
    return found


def _quoted(text: str) -> str:
    """A word in a shell, whatever is in it."""
    return "'" + text.replace("'", "'\\''") + "'"


def bash(all_of: list[Subject]) -> Iterator[str]:
    """The script for bash, 3.2 and later; where nothing is proposed bash completes names of files."""
    yield from (
        "_nqz() {",
        "    local IFS=$' \\t\\n' word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}",
        "    local command= words= several= i",
        "    COMPREPLY=()",
        "    # --option=value is three words here",
        "    if [[ $word == = ]]; then word=",
        "    elif [[ $before == = && $COMP_CWORD -ge 2 ]]; then before=${COMP_WORDS[COMP_CWORD-2]}; fi",
        "    for ((i = 1; i < COMP_CWORD; i++)); do",
        "        if [[ ${COMP_WORDS[i]} != -* ]]; then command=${COMP_WORDS[i]}; break; fi",
        "    done",
        "    case $command in",
    )
    for subject in all_of:
        yield f"    {_quoted('') if subject.name == 'nqz' else subject.name})"
        yield "        case $before in"
        for flag in subject.flags:
            if not flag.value or flag.joined:
                continue
            names = "|".join(flag.names)
            if flag.choices:
                several = "several=1 " if flag.several else ""
                yield f"        {names}) {several}words={_quoted(' '.join(flag.choices))} ;;"
            elif flag.files or flag.folders:
                yield f"        {names}) return ;;"
            else:
                yield f"        {names}) compopt +o default +o bashdefault 2> /dev/null; return ;;"
        names = " ".join(name for flag in subject.flags for name in flag.names)
        yield f"        *) if [[ $word == -* ]]; then words={_quoted(names)}"
        yield f"           else words={_quoted(' '.join(subject.choices))}; fi ;;"
        yield "        esac ;;"
    yield from (
        "    esac",
        "    if [[ -n $several && $word == *,* ]]; then",
        '        COMPREPLY=($(compgen -P "${word%,*}," -W "$words" -- "${word##*,}"))',
        "    elif [[ -n $words ]]; then",
        '        COMPREPLY=($(compgen -W "$words" -- "$word"))',
        "    fi",
        "}",
        "complete -o bashdefault -o default -F _nqz nqz",
    )


def _zsh_flag(flag: Flag) -> Iterator[str]:
    about, value = (re.sub(r"([\\\[\]:])", r"\\\1", text) for text in (flag.about, flag.value))
    action = " "
    if flag.several:
        action = f"_sequence compadd - {' '.join(flag.choices)}"
    elif flag.choices and flag.files:
        action = f"{{compadd -- {' '.join(flag.choices)}; _files}}"
    elif flag.choices:
        action = f"({' '.join(flag.choices)})"
    elif flag.files or flag.folders:
        action = "_files -/" if flag.folders else "_files"
    for name in flag.names:
        before = "*" if flag.repeatable else f"({' '.join(flag.names)})"
        if not flag.value:
            yield f"{before}{name}[{about}]"
        elif flag.joined:
            yield f"{before}{name}=-[{about}]::{value}:{action}"
        else:
            yield f"{before}{name}{'=' if name.startswith('--') else '+'}[{about}]:{value}:{action}"


def zsh(all_of: list[Subject]) -> Iterator[str]:
    """The script for zsh: a file of $fpath, or to be evaluated after compinit."""
    nqz, *commands = all_of
    yield "_nqz() {"
    yield "    local curcontext=$curcontext state line"
    yield "    local -a commands"
    yield "    commands=("
    yield from (f"        {_quoted(f'{one.name}:{one.about}')}" for one in commands)
    yield "    )"
    specs = " ".join(_quoted(spec) for flag in nqz.flags for spec in _zsh_flag(flag))
    yield f"    _arguments -C {specs} '1:command:->command' '*::argument:->argument' && return"
    yield "    case $state in"
    yield "    command) _describe -t commands 'nqz command' commands ;;"
    yield "    argument)"
    yield "        case $words[1] in"
    for one in commands:
        yield f"        {one.name})"
        yield "            _arguments -s \\"
        yield from (f"                {_quoted(spec)} \\" for flag in one.flags for spec in _zsh_flag(flag))
        action = f"({' '.join(one.choices)})" if one.choices else "_files"
        yield f"                {_quoted(f'*:{one.name}:{action}')} ;;"
    yield from (
        "        esac ;;",
        "    esac",
        "}",
        'if [[ ${funcstack[1]} == _nqz ]]; then _nqz "$@"; else compdef _nqz nqz; fi',
    )


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def fish(all_of: list[Subject]) -> Iterator[str]:
    """The script for fish, 3.0 and later."""
    yield "complete -c nqz -f"
    names = " ".join(one.name for one in all_of[1:])
    none = f"not __fish_seen_subcommand_from {names}"
    for one in all_of[1:]:
        yield f"complete -c nqz -n {_quoted(none)} -a {one.name} -d {_fish_quoted(one.about)}"
    for one in all_of:
        condition = none if one.name == "nqz" else f"__fish_seen_subcommand_from {one.name}"
        start = f"complete -c nqz -n {_quoted(condition)}"
        for flag in one.flags:
            spelled = " ".join(
                f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in flag.names
            )
            value = ""
            if flag.choices:
                value = f" {'-r -F' if flag.files else '-x'} -a {_quoted(' '.join(flag.choices))}"
            elif flag.value and not flag.joined:
                value = " -r -F" if flag.files or flag.folders else " -x"
            yield f"{start} {spelled}{value} -d {_fish_quoted(flag.about)}"
        if one.name != "nqz":
            yield f"{start} -a {_quoted(' '.join(one.choices))}" if one.choices else f"{start} -F"


_SHELLS: dict[str, Callable[[list[Subject]], Iterator[str]]] = {"bash": bash, "zsh": zsh, "fish": fish}


@click.command("completion", cls=Documented)
@click.argument("shell", type=click.Choice(list(_SHELLS)))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print a script that makes a shell complete commands, options, their values, and names of files.

    The shell runs the script once, when it starts; to complete a word it then runs nothing. Print it again when nqz has
    been brought up to date. A folder that it is written to, as in the examples, must be there.
    """
    first = "#compdef nqz\n" if shell == "zsh" else ""
    head = f"{first}# Completion of nqz {__version__} for {shell}, as printed by: nqz completion {shell}\n"
    payload(head + "".join(f"{line}\n" for line in _SHELLS[shell](subjects(context.find_root()))))
