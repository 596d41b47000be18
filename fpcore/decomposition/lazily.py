"""A mapping that holds no values: large ones are made one at a time."""

from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Lazily(Mapping[Key, Value], Generic[Key, Value]):
    """A mapping whose values are made each time they are asked for, and not kept.

    makers  {key: what makes its value}
    """

    def __init__(self, makers: Mapping[Key, Callable[[], Value]]):
        self._makers = dict(makers)

    def __getitem__(self, key: Key) -> Value:
        return self._makers[key]()

    def __iter__(self) -> Iterator[Key]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)
