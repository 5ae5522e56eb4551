"""Items made in a thread of their own, ahead of who asks for them."""

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class _End:
    """Stands for the end of a generator, which may yield None."""


END = _End()


class ReadAhead(Iterator[T]):
    """The items of a generator, made in a thread of their own, a few ahead of who asks for them.

    What the generator raises is raised here, in its turn. To be closed from the thread that made it.

    Args:
        items: The generator.
        depth: How many items are made ahead.
    """

    def __init__(self, items: Generator[T, None, None], depth: int) -> None:
        self._items = items
        self._thread = ThreadPoolExecutor(1)
        self._coming = deque(self._order() for _ in range(depth))

    def _order(self) -> Future[T | _End]:
        return self._thread.submit(next, self._items, END)

    def __next__(self) -> T:
        item = self._coming.popleft().result()
        self._coming.append(self._order())
        if isinstance(item, _End):
            raise StopIteration
        return item

    def close(self) -> None:
        """End the thread, after at most one more item, and the generator."""
        self._thread.shutdown(cancel_futures=True)
        self._items.close()
