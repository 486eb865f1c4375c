"""The line between a process and the workers that it started on the same machine: a Unix socket.

Workers send batches of messages; the driver sends one word, "stop". Either end learns of the other's death by the
socket itself, however it died: a worker whose driver is gone ends at once, so that none is left behind.
"""

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable
from multiprocessing.connection import Client, Connection, wait
from pathlib import Path

from distmtl.orchestrate.messages import Joined, Message

STOP = "stop"
_DRIVER_GONE = 1


class ControlServer:
    """The driver's end. Used by one thread.

    Attributes:
        hung_up: How many workers have connected and ended.

    Args:
        path: Where to listen, in a folder that only this user can enter (whatever is received is unpickled).
    """

    def __init__(self, path: Path) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(1024)
        self._workers: dict[Connection, int | None] = {}  # with the process id, once it has said so
        self._stopping = False
        self.hung_up = 0

    def receive(self, timeout_s: float) -> list[Message]:
        """The messages that arrive within a time; returns as soon as there are any."""
        messages: list[Message] = []
        for ready in wait([self._listener, *self._workers], timeout_s):
            if ready is self._listener:
                self._accept()
            elif isinstance(ready, Connection):
                messages += self._read(ready)
        return messages

    def drain(self) -> list[Message]:
        """Everything that was sent and not yet received."""
        messages: list[Message] = []
        while wait([self._listener, *self._workers], 0):
            messages += self.receive(0)
        return messages

    def stop(self) -> None:
        """Ask all workers to stop, those that have yet to connect too."""
        self._stopping = True
        for worker in self._workers:
            _tell(worker, STOP)

    def close(self) -> None:
        """End the workers that are still there, and turn away those that come later."""
        self._listener.close()
        for worker, pid in self._workers.items():
            if pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            worker.close()

    def _accept(self) -> None:
        accepted, _ = self._listener.accept()
        worker = Connection(accepted.detach())
        self._workers[worker] = None
        if self._stopping:
            _tell(worker, STOP)

    def _read(self, worker: Connection) -> list[Message]:
        try:
            batch: list[Message] = worker.recv()
        except (EOFError, OSError):
            del self._workers[worker]
            worker.close()
            self.hung_up += 1
            return []
        for message in batch:
            if isinstance(message, Joined):
                self._workers[worker] = message.pid
        return batch


class ControlClient:
    """A worker's end.

    Args:
        path: Where the driver listens.
        on_stop: Called, in another thread, when the driver asks to stop.
    """

    def __init__(self, path: Path, on_stop: Callable[[], None]) -> None:
        try:
            self._driver = Client(str(path), family="AF_UNIX")
        except OSError:  # the driver has ended in the meantime
            os._exit(_DRIVER_GONE)
        self._on_stop = on_stop
        self._leaving = False
        threading.Thread(target=self._listen, name="distmtl-control", daemon=True).start()

    def send(self, messages: list[Message]) -> None:
        """Send a batch. One thread at a time."""
        self._driver.send(messages)

    def leave(self) -> None:
        """From now on this worker may outlive its driver."""
        self._leaving = True

    def _listen(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            while self._driver.recv() == STOP:
                self._on_stop()
        if not self._leaving:
            os._exit(_DRIVER_GONE)


def _tell(worker: Connection, word: str) -> None:
    with contextlib.suppress(OSError):  # it has just ended
        worker.send(word)
