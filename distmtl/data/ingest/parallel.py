"""Threads that work on a list of things while the results are taken in order."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_MOST_THREADS = 4
"""Every thread holds a few batches, and memory is bounded."""


def choose_threads(wanted: int | None) -> int:
    """As many threads as are wanted, or as this process has cores, up to 4."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return wanted or min(_MOST_THREADS, cores)


class Cancelled(Exception):
    """Another thread has failed."""


def in_order(work: Callable[[T, Event], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """Results in the order of their items, with at most ``threads`` items ahead of the one that is taken.

    The work is given an event that is set once an item has failed or the caller has left: it should end soon then.
    """
    stop = Event()
    waiting: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="distmtl-pack")
    try:
        for item in items:
            waiting.append(pool.submit(work, item, stop))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def read_ahead(items: Iterator[T], depth: int = 1) -> Iterator[Iterator[T]]:
    """Read an iterator in a thread of its own, ``depth`` items ahead of the one that is taken."""
    queue: Queue[tuple[T | None, BaseException | None, bool]] = Queue(depth)
    left = Event()

    def put(entry: tuple[T | None, BaseException | None, bool]) -> bool:
        while not left.is_set():
            try:
                queue.put(entry, timeout=0.1)
            except Full:
                continue
            return True
        return False

    def read() -> None:
        try:
            for item in items:
                if not put((item, None, False)):
                    return
            put((None, None, True))
        except BaseException as error:
            put((None, error, True))
        finally:
            if isinstance(items, Generator):
                items.close()  # it may hold a file open

    thread = Thread(target=read, name="distmtl-pack-read", daemon=True)
    thread.start()
    try:
        yield _taken(queue)
    finally:
        left.set()
        while thread.is_alive():
            with _ignoring_empty():
                queue.get_nowait()
            thread.join(0.1)


def _taken(queue: "Queue[tuple[T | None, BaseException | None, bool]]") -> Iterator[T]:
    while True:
        item, error, last = queue.get()
        if error is not None:
            raise error
        if last:
            return
        yield item  # type: ignore[misc]  # an item that is None is one of the caller's


@contextmanager
def _ignoring_empty() -> Iterator[None]:
    try:
        yield
    except Empty:
        return
