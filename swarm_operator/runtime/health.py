"""Named health checks, answered as controller-runtime's `pkg/healthz` does."""

from __future__ import annotations

from collections.abc import Callable, Iterable

Check = Callable[[], str | None]
"""Returns None when all is well, else why not. The reason is logged and not sent to the caller."""


class Checks:
    """The checks behind one path, such as /readyz."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {"ping": lambda: None}

    def add(self, name: str, check: Check) -> None:
        """Add a check under a name that is free."""
        if name in self._checks:
            raise ValueError(f"a check named {name!r} is there already")
        self._checks[name] = check

    def run(self, *, only: str | None = None, exclude: Iterable[str] = ()) -> dict[str, str | None] | None:
        """Run all checks, or one.

        Returns:
            Answer of each check, by name; None when `only` names no check.
        """
        if only is not None:
            return {only: self._checks[only]()} if only in self._checks else None
        skipped = set(exclude)
        return {name: check() for name, check in self._checks.items() if name not in skipped}
