"""Items made ahead of their use by one background thread, bounded in number and in bytes.

They are handed over in groups, as they are made: waking another thread for each small batch costs more than making it.
"""

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from threading import Condition, Thread
from typing import Generic, TypeVar

T = TypeVar("T")


class Prefetch(Generic[T]):
    """Calls ``make`` for some steps after the others in a thread, ahead of :meth:`get`.

    Args:
        make: ``make(step, horizon)`` gives the items of a step and of as many after it as it likes, at least one and
            all before ``horizon`` (the one below), and the bytes of each.
        start: The first step.
        horizon: The step before which the thread waits for :meth:`extend`; None: it never does.
        limit_items: Items that may wait for their use.
        limit_bytes: Bytes that these may have; a single group may have more. One further group is being made.
    """

    def __init__(
        self,
        make: Callable[[int, int | None], Sequence[tuple[T, int]]],
        start: int,
        horizon: int | None,
        limit_items: int,
        limit_bytes: int,
    ) -> None:
        self._make = make
        self._step = start
        self._horizon = horizon
        self._limit_items, self._limit_bytes = limit_items, limit_bytes
        self._items: deque[tuple[T, int]] = deque()
        self._bytes = 0
        self._error: BaseException | None = None
        self._closed = False
        self._changed = Condition()
        self._thread = Thread(target=self._run, name="distmtl-prefetch", daemon=True)
        self._thread.start()

    def get(self) -> T | None:
        """The next step's item; None at the horizon.

        Raises:
            BaseException: What ``make`` raised, with its own traceback, after the items of the steps before.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._error or self._closed or self._at_horizon())
            if self._items:
                item, size = self._items.popleft()
                self._bytes -= size
                self._changed.notify_all()
                return item
            if self._error:
                raise self._error
            return None

    def extend(self, horizon: int | None) -> None:
        """Let the thread go on to another horizon."""
        with self._changed:
            self._horizon = horizon
            self._changed.notify_all()

    def close(self, *, wait: bool = True) -> None:
        """Make the thread end and drop what it made; with ``wait``, return when it has ended."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()
        if wait:
            self._thread.join()

    def _run(self) -> None:
        try:
            while self._wait(lambda: not self._at_horizon()):
                group = self._make(self._step, self._horizon)
                size = sum(size for _, size in group)
                if not self._wait(partial(self._has_room, len(group), size)):
                    return
                with self._changed:
                    self._items.extend(group)
                    self._bytes += size
                    self._step += len(group)
                    self._changed.notify_all()
                del group  # the consumer alone decides how long they live
        except BaseException as error:  # the consumer raises it
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _wait(self, condition: Callable[[], bool]) -> bool:
        """Wait for a condition; False once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or condition())
            return not self._closed

    def _at_horizon(self) -> bool:
        return self._horizon is not None and self._step >= self._horizon

    def _has_room(self, items: int, size: int) -> bool:
        fits = len(self._items) + items <= self._limit_items and self._bytes + size <= self._limit_bytes
        return fits or not self._items
