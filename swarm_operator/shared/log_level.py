"""Minimum level of the process's log. It can be changed while the process runs."""

from __future__ import annotations

import logging
from typing import Final

LEVELS: Final = ("debug", "info", "warning", "error")

_NOISY: Final = ("aiosqlite", "kubernetes_asyncio", "asyncio", "uvicorn.error")
"""Loggers of libraries that log bodies at debug, with values and tokens in them, or in prose what we log ourselves."""


def set_log_level(level: str) -> None:
    """Log nothing below a level of LEVELS from now on."""
    root = logging.getLogger()
    root.setLevel(level.upper())
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def log_level() -> str:
    """Return the level in force."""
    return logging.getLevelName(logging.getLogger().level).lower()
