"""`swarm-memory completion`: the shells' completion, by click's protocol."""

from __future__ import annotations

import os
from pathlib import Path

import click
from click import shell_completion as shells

from swarm_operator.cmd.memory.parsing import OneOf, command


class Tcsh(shells.ShellComplete):
    """Completion of tcsh, which click does not know."""

    name = "tcsh"
    source_template = "complete %(prog_name)s 'p@*@`env %(complete_var)s=tcsh_complete %(prog_name)s`@'\n"

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the incomplete one, and that one."""
        line = os.environ["COMMAND_LINE"]  # https://man.archlinux.org/man/tcsh.1: programmed completion
        words = shells.split_arg_string(line)[1:]
        return (words, "") if line.endswith(" ") or not words else (words[:-1], words[-1])

    def get_completions(self, args: list[str], incomplete: str) -> list[shells.CompletionItem[str]]:
        """Return the completions, of paths too: tcsh leaves these to the program."""
        found = []
        for item in super().get_completions(args, incomplete):
            if item.type == "plain":
                found.append(item)
            else:
                place = "".join(item.value.rpartition("/")[:2])
                paths = [f"{place}{path.name}{'/' * path.is_dir()}" for path in Path(place).glob("*")]
                found += [shells.CompletionItem(path) for path in paths if path.startswith(incomplete)]
        return found

    def format_completion(self, item: shells.CompletionItem[str]) -> str:
        """Return the word."""
        return item.value


shells.add_completion_class(Tcsh)


def complete(cli: click.Command, program: str, variable: str, instruction: str) -> int:
    """Print what a shell asks for by the variable, and return the exit code."""
    return shells.shell_complete(cli, {}, program, variable, instruction)


@command("completion")
@click.argument("shell", type=OneOf("bash", "zsh", "fish", "tcsh"))
@click.pass_context
def completion(context: click.Context, shell: str) -> int:
    """Print the completion script of a shell."""
    root = context.find_root()
    program = root.info_name or ""
    variable = f"_{program.replace('-', '_')}_COMPLETE".upper()
    return complete(root.command, program, variable, f"{shell}_source")
