"""What is worth keeping in memory for the next request: the latest, up to a size."""

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
        Sum of sizes that is kept.
    size
        Of a value; 1 by default, so that ``capacity`` counts values.

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
        """Return the value of a key, made unless it is here, once for all who wait for it.

        One that is larger than the capacity is not kept.
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
        """Return the keys of what is kept, the latest last."""
        with self._lock:
            return list(self._values)
