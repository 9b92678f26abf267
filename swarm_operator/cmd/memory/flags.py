"""Flags that may also be given by environment variables."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
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
