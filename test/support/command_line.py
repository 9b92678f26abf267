"""Options of `swarm-memory`, without running a command."""

from types import SimpleNamespace

import click

from swarm_operator.cmd.memory.commands import cli


def parse(name, *arguments):
    """Return the options that a command gets, by the names of its parameters; a bad one raises a UsageError."""
    top = click.Context(cli, info_name="swarm-memory")
    command = cli.get_command(top, name)
    return SimpleNamespace(**command.make_context(name, list(arguments), parent=top).params)


def commands():
    """Return every command by its name."""
    top = click.Context(cli)
    return {name: cli.get_command(top, name) for name in cli.list_commands(top)}
