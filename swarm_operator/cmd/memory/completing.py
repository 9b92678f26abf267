"""`swarm-memory completion`: the shells' completion, made by shtab from the parser."""

from __future__ import annotations

import argparse
from typing import Any, Final

from swarm_operator.cmd.memory.codes import OK

SHELLS: Final = ("bash", "zsh", "fish", "tcsh")
_FILES: Final = frozenset({"file", "database", "token_file", "ca_file"})
_DIRECTORIES: Final = frozenset({"data_dir", "token_dir", "tls_dir"})


def add(commands: Any, parser: argparse.ArgumentParser) -> None:
    """Add it; `parser` is the one whose commands and flags are completed."""
    text = "print the completion script of a shell"
    command = commands.add_parser("completion", help=text, description=text)
    command.set_defaults(run=lambda options: _print(options.shell, parser, commands))
    command.add_argument("shell", choices=SHELLS)


def _print(shell: str, parser: argparse.ArgumentParser, commands: Any) -> int:
    import shtab  # noqa: PLC0415 - only this needs it

    for command in commands.choices.values():
        for action in command._actions:  # noqa: SLF001 - shtab itself reads them there
            if action.dest in _FILES:
                action.complete = shtab.FILE
            elif action.dest in _DIRECTORIES:
                action.complete = shtab.DIRECTORY
    print(shtab.complete(parser, shell=shell))  # noqa: T201 - this is a command line
    return OK
