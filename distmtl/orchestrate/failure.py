"""What ended a worker, and whether its run is started again.

An error that a worker *raises* is final: the same input and the same step would raise it again. A worker that is
*lost* (killed, its host gone, a collective that broke or timed out) is replaced, as often as ``launch.max_failures``
allows and as long as restarts lead anywhere.
"""

import pickle
import signal
import traceback
from collections.abc import Sequence
from dataclasses import dataclass

from distmtl.errors import DistmtlError, TrainingStopped, WorkerError

RESTARTS_WITHOUT_COMMIT = 3
"""After so many restarts in a row that committed nothing new, another one will not help."""
LONGEST_DELAY_S = 30.0

_BROKEN_COLLECTIVE = (
    "connection closed by peer",
    "connection reset by peer",
    "connection refused",
    "broken pipe",
    "gloo",
    "nccl",
    "timed out waiting",
)


@dataclass(frozen=True)
class Failure:
    """An error that a worker raised, on its way to the person who started the run.

    Attributes:
        rank: The worker.
        summary: The error in one line.
        traceback: The worker's own traceback.
        error: The error itself where it is one of distmtl's, else None.
        collateral: Whether it only says that another worker is gone.
    """

    rank: int
    summary: str
    traceback: str
    error: DistmtlError | None = None
    collateral: bool = False

    @classmethod
    def of(cls, error: BaseException, rank: int) -> "Failure":
        """Describe an error where it was caught."""
        return cls(
            rank=rank,
            summary="".join(traceback.format_exception_only(error)).strip(),
            traceback="".join(traceback.format_exception(error)).rstrip(),
            error=error if isinstance(error, DistmtlError) and _survives_pickling(error) else None,
            collateral=is_collateral(error),
        )


@dataclass(frozen=True)
class Loss:
    """An attempt that ended without a result and without an error of its own.

    Attributes:
        cause: What is known, as a clause: "worker 1 was killed by SIGKILL".
        committed_step: Step of the newest commit that was seen by then, over all attempts; -1 for none.
    """

    cause: str
    committed_step: int


@dataclass(frozen=True)
class Retry:
    """Start again after ``delay_s`` seconds."""

    delay_s: float


@dataclass(frozen=True)
class Stop:
    """Give up."""

    reason: str


def on_failure(history: Sequence[Loss], max_failures: int) -> Retry | Stop:
    """Whether to start again after the last of these losses.

    Args:
        history: Every loss so far, oldest first; at least one.
        max_failures: Restarts in all.
    """
    if len(history) > max_failures:
        return Stop(f"{history[-1].cause}, and launch.max_failures ({max_failures}) restarts are used up")
    idle = _restarts_without_commit(history)
    if idle >= RESTARTS_WITHOUT_COMMIT:
        return Stop(f"{history[-1].cause}, and the last {idle} restarts committed no checkpoint")
    return Retry(min(2.0 ** (idle - 1), LONGEST_DELAY_S) if idle else 0.0)


def worst(failures: Sequence[Failure]) -> Failure | None:
    """The failure to report: of the lowest rank, collateral ones left out; None if there is no other."""
    return min(
        (failure for failure in failures if not failure.collateral), key=lambda failure: failure.rank, default=None
    )


def as_error(failure: Failure) -> DistmtlError:
    """The error to raise for a worker's failure: its own where it is one of distmtl's, else a WorkerError.

    The worker's traceback hangs on it as a note, so that it is printed once, wherever the error is.
    """
    error = failure.error or WorkerError(f"{failure.summary}.", where=f"worker {failure.rank}")
    error.add_note(f"\nOn worker {failure.rank}:\n{failure.traceback}")
    return error


def gave_up(stop: Stop) -> TrainingStopped:
    """The error of a run that the policy stopped."""
    return TrainingStopped(f"The run stopped: {stop.reason}.", remedy="The last committed checkpoint is intact.")


def exit_cause(rank: int, exit_code: int) -> str:
    """How a worker process ended, as a clause.

    Args:
        rank: The worker.
        exit_code: As ``subprocess`` says it: minus the signal's number for one that a signal killed.
    """
    if exit_code >= 0:
        return f"worker {rank} ended with exit code {exit_code}"
    name = signal.Signals(-exit_code).name
    hint = " (out of memory?)" if name == "SIGKILL" else ""
    return f"worker {rank} was killed by {name}{hint}"


def is_collateral(error: BaseException) -> bool:
    """Whether an error, or what it was raised from, says no more than that a collective broke.

    Told by names and texts, because the process that asks has not always loaded torch.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, DistmtlError):
            return False
        if any(kind.__name__ == "DistError" for kind in type(seen).__mro__):
            return True
        if type(seen) is RuntimeError and any(sign in str(seen).lower() for sign in _BROKEN_COLLECTIVE):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def _restarts_without_commit(history: Sequence[Loss]) -> int:
    newest = history[-1].committed_step
    return sum(loss.committed_step == newest for loss in history) - 1


def _survives_pickling(error: DistmtlError) -> bool:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # a subclass of the user's may fail in any way
        return False
    return True
