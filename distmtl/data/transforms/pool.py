"""Processes that transform rows: started by us, fed one step at a time, gone when their parent is.

A process is a fresh interpreter and not ``multiprocessing``'s spawn, which would import the parent's main module again:
that is the user's script, torchrun's worker or Ray's. What travels between the two are our own pickles, over a socket
that no one else holds.
"""

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from typing import Any

from distmtl.data.transforms.chain import RowFailure
from distmtl.data.transforms.keys import Keys
from distmtl.data.transforms.rows import Groups, Recipe
from distmtl.errors import InputError, WorkerError

# All processes of a terminal or of a job get its SIGINT and SIGTERM; the parent decides what they mean.
_START = """
import signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
sys.path[:] = {path!r}
from distmtl.data.transforms.worker import main
main({fd}, {parent})
"""


@dataclass(frozen=True)
class Task:
    """Rows of one source in one step; see :class:`distmtl.data.transforms.rows.Rows`."""

    source: str
    columns: Mapping[str, Any]
    keys: Keys | None
    rows: int


class Pool:
    """A fixed number of processes. Worker w takes the steps s with ``s mod workers == w``, in their order.

    Args:
        recipes: What to do with the rows of each source, by its name.
        workers: Number of processes; they start with the first task.
    """

    def __init__(self, recipes: Mapping[str, Recipe], workers: int) -> None:
        self._workers = [_Worker(pickle.dumps(dict(recipes)), number, workers) for number in range(workers)]

    def submit(self, step: int, tasks: Sequence[Task]) -> "Future[list[Groups]]":
        """Transform the rows of a step, source by source.

        Returns:
            The input groups of each; or RowFailure, an InputError, or WorkerError if the process ended.
        """
        return self._workers[step % len(self._workers)].submit(tasks)

    def close(self, *, wait: bool = True) -> None:
        """End the processes, whatever they are doing."""
        for worker in self._workers:
            worker.close(wait=wait)


class _Worker:
    """A process, and the thread that speaks with it."""

    def __init__(self, recipes: bytes, number: int, workers: int) -> None:
        self._recipes, self._name = recipes, f"transform worker {number} of {workers}"
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="distmtl-transform")
        self._lock = threading.Lock()
        self._closed = False
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None

    def submit(self, tasks: Sequence[Task]) -> "Future[list[Groups]]":
        return self._thread.submit(self._ask, tasks)

    def close(self, *, wait: bool) -> None:
        with self._lock:
            self._closed = True
            if self._process is not None:
                self._process.kill()  # it has no state, and its parent reads its last words no more
                self._process.wait()
        self._thread.shutdown(wait=wait, cancel_futures=True)

    def _ask(self, tasks: Sequence[Task]) -> list[Groups]:
        try:
            connection = self._connection or self._start()
            connection.send_bytes(pickle.dumps(list(tasks), protocol=5))
            answer = pickle.loads(connection.recv_bytes())
        except (EOFError, OSError) as error:
            raise self._ended() from error
        if isinstance(answer, RowFailure | InputError):
            raise answer
        groups: list[Groups] = answer
        return groups

    def _start(self) -> Connection:
        ours, theirs = Pipe()
        command = _START.format(path=sys.path, fd=theirs.fileno(), parent=os.getpid())
        with self._lock, theirs:
            if self._closed:
                ours.close()
                raise EOFError
            self._process = subprocess.Popen(
                [sys.executable, "-c", command], pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL
            )
        self._connection = ours
        ours.send_bytes(self._recipes)
        return ours

    def _ended(self) -> WorkerError:
        code = None if self._process is None else self._process.wait()
        if code is not None and code < 0:
            cause, remedy = f"was killed by signal {-code}", ""
            if code == -9:
                remedy = "The kernel kills for memory: lower batch.transform_workers or batch.rows, or see dmesg."
        else:
            cause, remedy = f"ended with exit code {code}", "See its output above."
        return WorkerError(f"{self._name} {cause}.", remedy=remedy)
