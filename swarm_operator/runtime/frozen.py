"""Immutable objects, for tests: `Cache(client, transform=freeze)` returns only these.

All readers of a cache share its objects. A reconciler that changes a shared object in place fails at that line.
client-go's mutation detector (KUBE_CACHE_MUTATION_DETECTOR) finds the change only later.
"""

from __future__ import annotations

import copy
from typing import Any, NoReturn


def _refuse(*_: Any, **__: Any) -> NoReturn:
    raise TypeError("this object is shared by all readers of the cache; copy.deepcopy it and change the copy")


class _Dict(dict[str, Any]):
    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return {key: copy.deepcopy(value, memo) for key, value in self.items()}


class _List(list[Any]):
    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = clear = extend = insert = pop = remove = reverse = sort = _refuse

    def __deepcopy__(self, memo: dict[int, Any]) -> list[Any]:
        return [copy.deepcopy(value, memo) for value in self]


def freeze(value: Any) -> Any:
    """Return decoded JSON that is equal to `value` and cannot be changed. A deep copy of it can."""
    if isinstance(value, _Dict | _List):
        return value
    if isinstance(value, dict):
        return _Dict((key, freeze(part)) for key, part in value.items())
    return _List(map(freeze, value)) if isinstance(value, list) else value
