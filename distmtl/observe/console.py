"""What a person sees while a run goes on.

Everything goes to standard error: standard output belongs to ``--json``. On a terminal a progress bar is redrawn in
place; anywhere else (a log file, CI) plain lines are printed, often at first and ever more rarely later.
"""

import sys
import time
from collections.abc import Mapping
from typing import Any, Protocol, TextIO, cast

from distmtl.observe.events import AnyEvent, Commit, Eval, Progress, Start


class Console(Protocol):
    """Where events are shown. Used by one thread."""

    def show(self, event: AnyEvent) -> None:
        """Show an event, or pass over one that is of no interest. Never raises."""
        ...

    def close(self) -> None:
        """Leave the terminal tidy; may be called more than once, and ``show`` may follow."""
        ...


class Silent:
    """Shows nothing."""

    def show(self, event: AnyEvent) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Lines:
    """One plain line per event; progress at intervals that grow from ``first_s`` to ``last_s``.

    Args:
        stream: Where to; standard error by default.
        first_s: Seconds before the second progress line; every interval after that is half as long again.
        last_s: The longest interval. The last step is always shown.
    """

    def __init__(self, stream: TextIO | None = None, first_s: float = 2.0, last_s: float = 60.0) -> None:
        self._stream = stream
        self._first_s, self._last_s = first_s, last_s
        self._interval_s = first_s
        self._next = 0.0

    def show(self, event: AnyEvent) -> None:
        """Print the event's line."""
        if event["kind"] == "start":
            self._interval_s, self._next = self._first_s, 0.0
        if event["kind"] == "progress" and not self._due(event):
            return
        for line in event_lines(event):
            self._print(line)

    def close(self) -> None:
        """Nothing is left open."""

    def _due(self, event: AnyEvent) -> bool:
        now = time.monotonic()
        if now < self._next and event["step"] < event["steps"]:
            return False
        self._next = now + self._interval_s
        self._interval_s = min(self._interval_s * 1.5, self._last_s)
        return True

    def _print(self, line: str) -> None:
        try:
            print(line, file=self._stream or sys.stderr, flush=True)
        except (OSError, ValueError):  # a closed or broken stream must not end a run
            return


def open_console(*, quiet: bool = False, stream: TextIO | None = None) -> Console:
    """The console that suits where the output goes.

    Args:
        quiet: Show nothing.
        stream: Standard error by default.
    """
    if quiet:
        return Silent()
    target = stream or sys.stderr
    if target.isatty():
        from distmtl.observe.bar import Bar

        return Bar(target)
    return Lines(stream)


def event_lines(event: AnyEvent) -> list[str]:
    """What an event says, as plain text."""
    match event["kind"]:
        case "start":
            return [_start_line(cast("Start", event))]
        case "progress":
            return [_progress_line(cast("Progress", event))]
        case "eval":
            return _eval_lines(cast("Eval", event))
        case "commit":
            return [_commit_line(cast("Commit", event))]
        case "notice":
            return str(event["text"]).splitlines()
        case _:
            return []


def _start_line(event: Start) -> str:
    workers = f"{event['workers']} worker{'s' if event['workers'] > 1 else ''}"
    begin = f"goes on from step {event['step']:,}" if event["step"] else "starts"
    return f"{event['run']} {begin}: {event['steps']:,} steps on {workers}"


def _progress_line(event: Progress) -> str:
    eta = f", {duration(event['eta_s'])} left" if event["eta_s"] is not None else ""
    losses = "  ".join(f"{task} {value:.4g}" for task, value in event["losses"].items())
    return f"step {event['step']:,}/{event['steps']:,}  {event['rows_per_s']:,.0f} rows/s{eta}  loss: {losses}"


def _eval_lines(event: Eval) -> list[str]:
    head = f"step {event['step']:,} {event['split']}"
    return [f"{head}  {task}: {_values(values)}" for task, values in event["tasks"].items()]


def _commit_line(event: Commit) -> str:
    return f"step {event['step']:,} checkpoint {event['uri']}"


def _values(values: Mapping[str, Any]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in values.items())


def duration(seconds: float) -> str:
    """Seconds as people say them: 42s, 3m10s, 2h05m, 3d04h."""
    whole = round(seconds)
    for unit, size, below, name in (("d", 86400, 3600, "h"), ("h", 3600, 60, "m"), ("m", 60, 1, "s")):
        if whole >= size:
            return f"{whole // size}{unit}{whole % size // below:02d}{name}"
    return f"{whole}s"
