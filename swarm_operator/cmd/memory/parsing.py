"""click's classes as this command line needs them."""

from __future__ import annotations

import importlib
import pathlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import click

from swarm_operator.cmd.memory.values import json_value

_NEGATIVE: Final = re.compile(r"-\d")


class Words(click.Option):
    """Option that takes all words up to the next option: `--namespaces a b`."""

    def __init__(self, param_decls: Sequence[str] | None = None, **attributes: Any) -> None:
        super().__init__(param_decls, multiple=True, **attributes)


class Command(click.Command):
    """Command that takes what argparse took: negative numbers as arguments, and Words."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments."""
        ctx.ignore_unknown_options = any(map(_NEGATIVE.match, args))
        return super().parse_args(ctx, list(self._each_with_its_option(args)))

    def _each_with_its_option(self, args: list[str]) -> Iterator[str]:
        """Repeat an option of words before each of its words but the first."""
        names = {name for option in self.params if isinstance(option, Words) for name in option.opts}
        option, values = "", 0
        for arg in args:
            if arg.startswith("-"):
                option, values = arg, 0
            elif option in names:
                values += 1
                if values > 1:
                    yield option
            yield arg


class LazyGroup(click.Group):
    """Group that imports the module of a command when the command is needed.

    https://click.palletsprojects.com/en/stable/complex/#lazily-loading-subcommands

    Args:
        modules: modules of this package, and the names of their commands with spaces between.
        attributes: see click.Group.
    """

    def __init__(self, *, modules: Mapping[str, str], **attributes: Any) -> None:
        super().__init__(**attributes)
        self._modules = {name: module for module, names in modules.items() for name in names.split()}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands, in the order of the table."""
        del ctx
        return list(self._modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, or None if there is none of that name."""
        del ctx
        if cmd_name not in self._modules:
            return None
        found = vars(importlib.import_module(f"{__package__}.{self._modules[cmd_name]}")).values()
        return next(each for each in found if isinstance(each, click.Command) and each.name == cmd_name)


class Flag(click.Option):
    """Option that an environment variable may also give. Without a default an empty text counts as none."""

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        """Return the value of a text."""
        if value == "" and not isinstance(self.default, str):
            return None
        return super().type_cast_value(ctx, value)


class Path(click.Path):
    """Path that is completed as one, and looked at by the command only."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> pathlib.Path:
        """Return the path."""
        del param, ctx
        return pathlib.Path(value)


class OneOf(click.Choice[str]):
    """One of these words, in any case."""

    def __init__(self, *words: str) -> None:
        super().__init__(words, case_sensitive=False)

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        """Return what is wrong."""
        del ctx
        return f"{value!r} is not allowed: one of {', '.join(self.choices)}"


class JsonInput(click.ParamType[Any]):
    """JSON value, which `-` takes from the standard input."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the value."""
        if ctx is not None and ctx.resilient_parsing:  # a completion, which waits for no input
            return value
        try:
            return json_value(sys.stdin.buffer.read() if value == "-" else value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


FILE: Final = Path()
FOLDER: Final = Path(file_okay=False)
STANDARD: Final = pathlib.Path("-")
"""Standard input or output in the place of a file."""


def command(name: str) -> Callable[[Callable[..., Any]], Command]:
    """Make a function a command: it gets the parameters by their names, and returns the exit code."""
    return click.command(name, cls=Command)
