"""Items made ahead of their use by one background thread, bounded in number and in bytes."""

from collections import deque
from collections.abc import Callable
from functools import partial
from threading import Condition, Thread
from typing import Generic, TypeVar

T = TypeVar("T")


class Prefetch(Generic[T]):
    """Calls ``make`` for one step after the other in a thread, ahead of :meth:`get`.

    Args:
        make: ``make(step, horizon)`` gives the item of a step and its bytes; ``horizon`` is the one below.
        start: The first step.
        horizon: The step before which the thread waits for :meth:`extend`; None: it never does.
        limit_items: Items that may wait for their use.
        limit_bytes: Bytes that these may have; a single item may have more. One further item is being made.
    """

    def __init__(
        self,
        make: Callable[[int, int | None], tuple[T, int]],
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
                item, size = self._make(self._step, self._horizon)
                if not self._wait(partial(self._has_room, size)):
                    return
                with self._changed:
                    self._items.append((item, size))
                    self._bytes += size
                    self._step += 1
                    self._changed.notify_all()
                del item  # the consumer alone decides how long it lives
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

    def _has_room(self, size: int) -> bool:
        return not self._items or (len(self._items) < self._limit_items and self._bytes + size <= self._limit_bytes)
