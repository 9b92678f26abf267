"""Flags that may also be given by environment variables, and those that commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

import click

from swarm_operator.cmd.memory.output import FORMATS
from swarm_operator.cmd.memory.parsing import FILE, FOLDER, Flag, OneOf
from swarm_operator.cmd.memory.values import interval, url, whole
from swarm_operator.shared import limits

_Run = TypeVar("_Run", bound=Callable[..., Any])
Option: TypeAlias = Callable[[_Run], _Run]


def flag(names: str, variable: str, default: Any, kind: Any, text: str) -> Option[Any]:
    """Return a flag that an environment variable may also give. An empty variable counts as not set.

    Args:
        names: of the flag, with spaces between; one without hyphens is the name of the function's parameter.
        variable: its name.
        default: a text as on the command line, None, or a function that returns one of these.
        kind: click's type, or a function that makes the value of a text or raises a ValueError.
        text: what it is.
    """
    return click.option(
        *names.split(), cls=Flag, type=kind, default=default, envvar=variable, metavar=variable, help=text,
        show_envvar=True, show_default=bool(default) and "default" not in text,
    )  # fmt: skip


def flags(*each: Option[Any]) -> Option[Any]:
    """Return what adds all of these to a command."""

    def add(run: _Run) -> _Run:
        for one in reversed(each):
            run = one(run)
        return run

    return add


def credentials(*, admin: bool = False) -> Option[Any]:
    """Return the flags by which a service is asked, besides its URL."""
    laptop = Path("data/tokens") / ("admin-token" if admin else "client-token")
    variable = "SWARM_MEMORY_ADMIN_TOKEN_FILE" if admin else "SWARM_MEMORY_TOKEN_FILE"
    return flags(
        flag(
            "--token-file", variable, lambda: str(laptop) if laptop.exists() else None, FILE,
            f"file with the token; default: {laptop}, if it exists",
        ),
        flag(
            "--ca-file", "SWARM_MEMORY_CA_FILE", None, FILE,
            "file with trusted CA certificates; default: the system's",
        ),
    )  # fmt: skip


def connection(*, admin: bool = False) -> Option[Any]:
    """Return the flags that say where a service is, and by which it is asked."""
    return flags(
        flag("--url", "SWARM_MEMORY_URL", "http://127.0.0.1:8080", url, "address of the service"),
        credentials(admin=admin),
    )


RETRIES: Final = flag(
    "--retry-for", "SWARM_MEMORY_RETRY_FOR", "2", whole(0, 86_400),
    "seconds to retry a request while the service is unavailable",
)  # fmt: skip

OUTPUT: Final = flag(
    "-o --output", "SWARM_MEMORY_OUTPUT", "auto", OneOf(*FORMATS),
    "table, json (one document a line), or auto: a table on a terminal, else json",
)  # fmt: skip

OBJECT_STORE: Final = flags(
    flag(
        "--backups-options", "BACKUPS_OPTIONS", None, FILE,
        "JSON file: endpoint, region, account, allow_http, ca_file, ... of an object store",
    ),
    flag(
        "--backups-credentials", "BACKUPS_CREDENTIALS", None, FOLDER,
        "directory with a file for each credential of an object store, such as access_key_id",
    ),
)  # fmt: skip

EMBEDDER: Final = flags(
    flag(
        "--embedder embedder_mode", "EMBEDDER", "none", OneOf(*limits.EMBEDDER_MODES),
        "maker of vectors of texts: none, static or http",
    ),
    flag(
        "--embedder-url", "EMBEDDER_URL", None, str,
        "URL of an endpoint compatible with OpenAI's, up to its version: https://HOST/v1",
    ),
    flag("--embedder-model", "EMBEDDER_MODEL", None, str, "name of the endpoint's model"),
    flag("--embedder-key-file", "EMBEDDER_KEY_FILE", None, FILE, "file with the endpoint's key, read for each request"),
    flag(
        "--embedder-ca-file", "EMBEDDER_CA_FILE", None, FILE,
        "CA certificates of the endpoint; default: the system's",
    ),
    flag(
        "--embedder-width", "EMBEDDER_WIDTH", None, whole(*limits.VECTOR_WIDTH),
        "dimensions of the model's vectors; default: requested at the start",
    ),
    flag(
        "--embedder-timeout", "EMBEDDER_TIMEOUT", "10s", interval, "maximum time of a request, with retries"
    ),
    flag("--embedder-batch", "EMBEDDER_BATCH", "64", whole(*limits.EMBEDDER_BATCH), "maximum texts in a request"),
)  # fmt: skip
