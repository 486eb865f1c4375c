"""What workers tell the process that started them, and how it keeps account of it."""

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distmtl.observe.console import Console
from distmtl.orchestrate.failure import Failure
from distmtl.training.result import RunResult


@dataclass(frozen=True)
class Joined:
    """A worker is up; its first message.

    Attributes:
        rank: Its number.
        pid: Its process, on its host.
    """

    rank: int
    pid: int


@dataclass(frozen=True)
class Emitted:
    """Something to show."""

    event: Mapping[str, Any]


@dataclass(frozen=True)
class Committed:
    """A checkpoint was committed."""

    uri: str
    step: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Failed:
    """A worker raised an error; this is its last message."""

    failure: Failure


@dataclass(frozen=True)
class Finished:
    """The run ended; the last message of worker 0."""

    result: RunResult


Message = Joined | Emitted | Committed | Failed | Finished


class Inbox:
    """Takes the messages of one attempt after the other. Used by one thread.

    Attributes:
        result: The run's end, once worker 0 has sent it.
        failures: Errors that workers of this attempt have raised.
        joined: Whether any worker of this attempt is up.
        committed_step: Step of the newest commit, over all attempts; -1 before the first.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.committed_step = -1
        self.begin_attempt()

    def begin_attempt(self) -> None:
        """Forget what the last attempt's workers said."""
        self.result: RunResult | None = None
        self.failures: list[Failure] = []
        self.joined = False

    def receive(self, messages: Sequence[Message]) -> None:
        """Take note of messages, in the order in which one worker sent them."""
        for message in messages:
            match message:
                case Joined():
                    self.joined = True
                case Emitted(event):
                    self.console.show(event)
                case Committed(uri, step):
                    self.committed_step = max(self.committed_step, step)
                    self.console.show({"kind": "commit", "step": step, "uri": uri})
                case Failed(failure):
                    self.failures.append(failure)
                case Finished(result):
                    self.result = result


class Outbox:
    """Sends messages from a thread of its own, so that training never waits for the driver.

    Args:
        deliver: Hands a batch over; may block. After it has raised once, messages are dropped.
        interval_s: How long messages are collected before they are sent together.
    """

    def __init__(self, deliver: Callable[[list[Message]], None], interval_s: float = 0.2) -> None:
        self._deliver = deliver
        self._interval_s = interval_s
        self._waiting: deque[Message] = deque()
        self._some = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._send_all, name="distmtl-outbox", daemon=True)
        self._thread.start()

    def put(self, message: Message) -> None:
        """Queue a message. Returns at once."""
        self._waiting.append(message)
        self._some.set()

    def close(self, timeout_s: float = 30.0) -> None:
        """Return when everything is delivered, or after ``timeout_s`` without that."""
        self._closing.set()
        self._some.set()
        self._thread.join(timeout_s)

    def _send_all(self) -> None:
        with contextlib.suppress(Exception):  # the driver is gone: whoever notices that ends this process
            while not (self._closing.is_set() and not self._waiting):
                self._some.wait()
                self._closing.wait(self._interval_s)
                self._some.clear()
                batch = [self._waiting.popleft() for _ in range(len(self._waiting))]
                if batch:
                    self._deliver(_latest_progress_only(batch))


def _latest_progress_only(batch: list[Message]) -> list[Message]:
    progress = [index for index, message in enumerate(batch) if _is_progress(message)]
    outdated = set(progress[:-1])
    return [message for index, message in enumerate(batch) if index not in outdated]


def _is_progress(message: Message) -> bool:
    return isinstance(message, Emitted) and message.event.get("kind") == "progress"
