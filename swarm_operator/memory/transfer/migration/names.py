"""Names in the target: scoped by swarm and valid for the store. The original name is kept.

A legacy name that the store rejects (empty, too long, with NUL, or not UTF-8) becomes `~` and the SHA-256 of its bytes.
The entry's metadata keeps the original name as `legacy.key`, `legacy.namespace` or `legacy.id`, as a JSON text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any, Final

from swarm_operator.memory.core.entry import check_namespace
from swarm_operator.memory.core.errors import InvalidInputError

_ESCAPES: Final = {"%": "%25", "/": "%2F"}
NO_NAMESPACE: Final = "default"


def scoped(swarm_id: Any, own: str, name: str) -> str:
    """Return `SWARM/NAME` for a name of another swarm, and the name itself for the target's swarm.

    A `/` or `%` in the swarm's id is percent-encoded, so the first `/` always ends the id.
    """
    if not isinstance(swarm_id, str) or swarm_id in {"", own}:
        return name
    return "".join(_ESCAPES.get(character, character) for character in swarm_id) + "/" + name


def fit(name: str, check: Callable[[str], object]) -> tuple[str, str | None]:
    """Return a name that `check` accepts, and the original as a JSON text if it differs."""
    try:
        check(name)
    except InvalidInputError:
        digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()
        return f"~{digest}", json.dumps(name)
    return name, None


def fit_namespace(name: Any) -> tuple[str, str | None]:
    """Return a namespace (`default` for None), and the original as a JSON text if it differs."""
    if name is None or name == "":
        return NO_NAMESPACE, None
    return fit(name if isinstance(name, str) else str(name), check_namespace)
