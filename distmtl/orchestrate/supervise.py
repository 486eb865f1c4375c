"""One attempt after the other, until there is a result or the policy says stop."""

import textwrap
import time
from collections.abc import Callable

from distmtl.errors import Interrupted
from distmtl.observe.console import Console
from distmtl.observe.events import notice
from distmtl.orchestrate.failure import Loss, Stop, as_error, gave_up, on_failure, worst
from distmtl.orchestrate.messages import Inbox
from distmtl.orchestrate.signals import StopSignals
from distmtl.training.result import RunResult

Attempt = Callable[[Inbox, StopSignals], str]
"""Starts workers and returns when they are gone, with what is known of the cause if they did not end well."""


def supervise(attempt: Attempt, max_failures: int, console: Console) -> RunResult:
    """Run attempts until one ends with a result.

    Args:
        attempt: Runs the workers once; their messages go to the inbox that it gets.
        max_failures: Restarts in all.
        console: Where events are shown.

    Raises:
        DistmtlError: The error that a worker raised, with its traceback as a note.
        TrainingStopped: The failure policy gave up.
        Interrupted: A stop was asked for and no worker was left to commit a checkpoint.
    """
    inbox = Inbox(console)
    history: list[Loss] = []
    with StopSignals() as stop:
        while True:
            inbox.begin_attempt()
            cause = attempt(inbox, stop)
            if inbox.result is not None:
                return inbox.result
            if (failure := worst(inbox.failures)) is not None:
                raise as_error(failure)
            if stop.requested:
                raise Interrupted("The run was stopped before its workers could commit another checkpoint.")
            history.append(Loss(_cause(cause, inbox), inbox.committed_step))
            decision = on_failure(history, max_failures)
            if isinstance(decision, Stop):
                raise gave_up(decision)
            console.show(notice(f"{history[-1].cause}; restart {len(history)} of at most {max_failures}"))
            _sleep(decision.delay_s, stop)


def _cause(cause: str, inbox: Inbox) -> str:
    if cause:
        return cause
    if inbox.failures:
        first = inbox.failures[0]
        return f"a collective broke on worker {first.rank} ({textwrap.shorten(first.summary, 160)})"
    return "the workers ended without a result"


def _sleep(delay_s: float, stop: StopSignals) -> None:
    end = time.monotonic() + delay_s
    while time.monotonic() < end and not stop.requested:
        time.sleep(0.1)
