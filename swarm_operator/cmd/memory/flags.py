"""Flags that may also be given by environment variables."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


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


def path(text: str) -> Path | None:
    """Return a path, or None for an empty text."""
    return Path(text) if text else None
