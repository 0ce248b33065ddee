"""A cache of the values used last, up to a size."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Cache(Generic[Value]):
    """Values by key, those that were used last; safe to use from several threads.

    Parameters
    ----------
    capacity
        Largest sum of sizes.
    size
        Returns the size of a value; 1 by default, so that ``capacity`` counts values.

    Examples
    --------
    >>> cache = Cache(2)
    >>> [cache.get(key, lambda key=key: key.upper()) for key in "abac"]
    ['A', 'B', 'A', 'C']
    >>> sorted(cache.keys())
    ['a', 'c']
    """

    def __init__(self, capacity: int, size: Callable[[Value], int] = lambda _: 1) -> None:
        self._capacity = capacity
        self._size = size
        self._values: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()
        self._total = 0
        self._making: dict[Hashable, Lock] = {}
        self._lock = Lock()

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return the value of a key; if it is not cached, make it once for all callers.

        A value that is larger than the capacity is not kept.
        """
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key][0]
            making = self._making.setdefault(key, Lock())
        with making:
            with self._lock:
                if key in self._values:
                    return self._values[key][0]
            try:
                value = make()
                self._keep(key, value)
            finally:
                with self._lock:
                    self._making.pop(key, None)
        return value

    def _keep(self, key: Hashable, value: Value) -> None:
        size = self._size(value)
        with self._lock:
            if key not in self._values and size <= self._capacity:
                self._values[key] = value, size
                self._total += size
                while self._total > self._capacity:
                    self._total -= self._values.popitem(last=False)[1][1]

    def keys(self) -> list[Hashable]:
        """Return the keys of the cached values, the latest last."""
        with self._lock:
            return list(self._values)
