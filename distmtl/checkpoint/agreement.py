"""All ranks succeed together or raise the same error together."""

from collections.abc import Callable
from typing import TypeVar

from distmtl.errors import DistmtlError
from distmtl.parallel.world import World

T = TypeVar("T")


def together(world: World, action: Callable[[], T]) -> T:
    """Do something on every rank. If it raises on any, every rank raises the lowest failing rank's error.

    A collective; ``action`` itself must hold none.

    Returns:
        This rank's own result.
    """
    result: list[T] = []
    error: DistmtlError | None = None
    cause: Exception | None = None
    try:
        result.append(action())
    except Exception as raised:
        error, cause = _portable(raised), raised
    errors = world.all_gather(error)
    _raise_first(errors, cause)
    return result[0]


def on_first(world: World, action: Callable[[], T]) -> T:
    """Do something on rank 0 and return its result on every rank, or raise its error on every rank.

    A collective; ``action`` itself must hold none.
    """
    outcome: tuple[T | None, DistmtlError | None] = (None, None)
    cause: Exception | None = None
    if world.rank == 0:
        try:
            outcome = (action(), None)
        except Exception as raised:
            outcome, cause = (None, _portable(raised)), raised
    result, error = world.broadcast(outcome)
    _raise_first([error], cause)
    done: T = result
    return done


def _raise_first(errors: list[DistmtlError | None], cause: Exception | None) -> None:
    """Raise the first error there is; it names its rank where another rank had none."""
    found = [(rank, error) for rank, error in enumerate(errors) if error is not None]
    if not found:
        return
    rank, first = found[0]
    if len(found) == len(errors):
        raise first from cause
    where = f"rank {rank}: {first.where}" if first.where else f"rank {rank}"
    raise type(first)(first.what, where, first.remedy) from cause


def _portable(error: Exception) -> DistmtlError:
    """An error that survives pickling."""
    if isinstance(error, DistmtlError):
        return type(error)(error.what, error.where, error.remedy)
    return DistmtlError(f"{type(error).__name__}: {error}.")
