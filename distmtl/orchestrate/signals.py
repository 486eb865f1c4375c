"""Stopping on request: the first signal asks, the second one insists."""

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self


class StopSignals:
    """Within the block, SIGINT and SIGTERM only set ``requested``; a second SIGINT raises KeyboardInterrupt.

    The handlers of before are put back at the end. Outside the main thread, where Python takes no signals, the block
    changes nothing.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[int, Any] = {}

    def is_requested(self) -> bool:
        """Whether somebody asked to stop."""
        return self.requested

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        if number == signal.SIGINT:
            os.write(2, b"\nstopping after a checkpoint; Ctrl-C again abandons it\n")  # print is not safe in a handler
        self.requested = True
