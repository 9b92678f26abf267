"""Flags that may also be given by environment variables."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from swarm_operator.cmd.memory.values import interval, one_of, optional, whole
from swarm_operator.shared import limits


class Flags:
    """Adds flags whose defaults come from the environment. argparse checks such a default like the flag itself."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._parser = parser

    def __call__(
        self, flag: str, variable: str, default: str, kind: Callable[[str], Any], text: str, *, short: str | None = None
    ) -> None:
        """Add one. An empty variable counts as not set."""
        shown = f"; default {default}" if default and "default" not in text else ""
        self._parser.add_argument(
            *((short,) if short else ()),
            flag,
            type=kind,
            default=os.environ.get(variable) or default,
            metavar=variable,
            help=f"{text}{shown} [{variable}]",
        )


def add_object_store(flag: Flags) -> None:
    """Add the flags of an object store as a destination of backups."""
    flag(
        "--backups-options", "BACKUPS_OPTIONS", "", path,
        "JSON file: endpoint, region, account, allow_http, ca_file, ... of an object store",
    )  # fmt: skip
    flag(
        "--backups-credentials", "BACKUPS_CREDENTIALS", "", path,
        "directory with a file for each credential of an object store, such as access_key_id",
    )  # fmt: skip


def add_embedder(flag: Flags) -> None:
    """Add the flags of the embedder."""
    flag(
        "--embedder",
        "EMBEDDER",
        "none",
        one_of(*limits.EMBEDDER_MODES),
        "what makes vectors of texts: none, static or http",
    )
    flag(
        "--embedder-url", "EMBEDDER_URL", "", str,
        "URL of an endpoint compatible with OpenAI's, up to its version: https://HOST/v1",
    )  # fmt: skip
    flag("--embedder-model", "EMBEDDER_MODEL", "", str, "name of the endpoint's model")
    flag("--embedder-key-file", "EMBEDDER_KEY_FILE", "", path, "file with the endpoint's key, read for each request")
    flag("--embedder-ca-file", "EMBEDDER_CA_FILE", "", path, "CA certificates of the endpoint; default: the system's")
    flag(
        "--embedder-width", "EMBEDDER_WIDTH", "", optional(whole(*limits.VECTOR_WIDTH)),
        "dimensions of the model's vectors; default: asked for at the start",
    )  # fmt: skip
    flag(
        "--embedder-timeout", "EMBEDDER_TIMEOUT", "10s", interval, "time until a request to it fails, with all attempts"
    )
    flag("--embedder-batch", "EMBEDDER_BATCH", "64", whole(*limits.EMBEDDER_BATCH), "texts in a request to it at most")


def path(text: str) -> Path | None:
    """Return a path, or None for an empty text."""
    return Path(text) if text else None
