"""Items made ahead of their use by one background thread, bounded in number and in bytes.

They are handed over in groups, as they are made: a lock and another thread's waking for each small batch cost more than
making it.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from threading import Condition, Thread
from typing import Generic, TypeVar

T = TypeVar("T")

PAUSE_S = 0.005
"""Seconds that a consumer faster than the thread is left alone at most."""


class Prefetch(Generic[T]):
    """Calls ``make`` for some steps after the others in a thread, ahead of :meth:`get`, which one thread calls.

    Args:
        make: ``make(step, horizon)`` gives the items of a step and of as many after it as it likes, at least one and
            all before ``horizon`` (the one below), and the bytes of all of them.
        start: The first step.
        horizon: The step before which the thread waits for :meth:`extend`; None: it never does.
        limit_items: Items that may wait for their use.
        limit_bytes: Bytes that their groups may have; a single one may have more. One further group is being made.
    """

    def __init__(
        self,
        make: Callable[[int, int | None], tuple[Sequence[T], int]],
        start: int,
        horizon: int | None,
        limit_items: int,
        limit_bytes: int,
    ) -> None:
        self._make = make
        self._step = start
        self._horizon = horizon
        self._limit_items, self._limit_bytes = limit_items, limit_bytes
        self._groups: deque[tuple[Sequence[T], int]] = deque()  # those that wait
        self._items = self._bytes = 0  # what they have
        self._at_hand: deque[T] = deque()  # the rest of the group in use; taken from without the lock
        self._at_hand_bytes = 0
        self._is_waiting = False  # the consumer, for the next group
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
        try:
            return self._at_hand.popleft()
        except IndexError:  # not looked at beforehand: another thread may close the loader in between
            return self._first_of_next()

    def extend(self, horizon: int | None) -> None:
        """Let the thread go on to another horizon."""
        with self._changed:
            self._horizon = horizon
            self._changed.notify_all()

    def close(self, *, wait: bool = True) -> None:
        """Make the thread end and drop what it made; with ``wait``, return when it has ended."""
        with self._changed:
            self._closed = True
            self._groups.clear()
            self._at_hand.clear()
            self._changed.notify_all()
        if wait:
            self._thread.join()

    def _first_of_next(self) -> T | None:
        """The first item of the next group, whose others are laid to hand; None at the horizon."""
        with self._changed:
            self._is_waiting = not self._groups
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._groups or self._error or self._closed or self._at_horizon())
            self._is_waiting = False
            if self._groups:
                (first, *rest), size = self._groups.popleft()
                self._at_hand.extend(rest)
                self._items, self._bytes, self._at_hand_bytes = self._items - 1 - len(rest), self._bytes - size, size
                self._changed.notify_all()
                return first
            if self._error:
                raise self._error
            return None

    def _run(self) -> None:
        try:
            while self._wait(lambda: not self._at_horizon()):
                started = time.perf_counter()
                items, size = self._make(self._step, self._horizon)
                seconds = time.perf_counter() - started
                if not self._wait(partial(self._has_room, len(items), size)):
                    return
                self._hand_over(items, size, seconds)
                del items  # the consumer alone decides how long they live
        except BaseException as error:  # the consumer raises it
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _hand_over(self, items: Sequence[T], size: int, seconds: float) -> None:
        """Give a group that took so many seconds to make to the consumer.

        A consumer that waited is left alone until it asks again, or for as long: Python runs one thread at a time, and
        two that take turns after every few operations are slower than one after the other.
        """
        with self._changed:
            was_waiting = self._is_waiting
            self._groups.append((items, size))
            self._items += len(items)
            self._bytes += size
            self._step += len(items)
            self._changed.notify_all()
            if was_waiting:
                self._changed.wait_for(lambda: self._closed or (self._is_waiting and not self._groups),
                                       min(seconds, PAUSE_S))  # fmt: skip

    def _wait(self, condition: Callable[[], bool]) -> bool:
        """Wait for a condition; False once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or condition())
            return not self._closed

    def _at_horizon(self) -> bool:
        return self._horizon is not None and self._step >= self._horizon

    def _has_room(self, items: int, size: int) -> bool:
        waiting, waiting_bytes = self._items + len(self._at_hand), self._bytes
        if self._at_hand:  # one of them keeps the memory of all
            waiting_bytes += self._at_hand_bytes
        return not waiting or (waiting + items <= self._limit_items and waiting_bytes + size <= self._limit_bytes)
