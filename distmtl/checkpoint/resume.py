"""Beginning an attempt: choose what to go on from, load it, and put up the fence."""

from dataclasses import dataclass

from distmtl.checkpoint.agreement import on_first
from distmtl.checkpoint.attempt import Attempt, begin_attempt, last_number, read_attempts
from distmtl.checkpoint.commit import COMMIT, find, locate, select
from distmtl.checkpoint.reader import Loaded, latest_good, load
from distmtl.checkpoint.run import RunStore, open_run_uri
from distmtl.errors import CheckpointError, KeyExistsError
from distmtl.parallel.world import World

_TRIES = 20


@dataclass(frozen=True)
class Start:
    """How an attempt begins.

    Attributes:
        attempt: Its record.
        loaded: The checkpoint that it goes on from; None for a fresh start.
    """

    attempt: Attempt
    loaded: Loaded | None


def start(run: RunStore, world: World, owner: str, resume: str = "auto") -> Start:
    """Begin an attempt of a run. A collective.

    Args:
        run: The run.
        world: The workers of the attempt.
        owner: Host, process and runtime, for people.
        resume: "auto": the newest checkpoint that is whole, if there is any; where there is none yet, what the last
            attempt started from. "never": a fresh start, before which all earlier checkpoints are fenced off. Else the
            URI of a checkpoint, of its step's folder or of a run: that one or an error, never another.

    Raises:
        CheckpointError: The checkpoint that was asked for cannot be used, or, under "auto", there are some and none
            can; or other attempts keep beginning at the same time.
        StoreError: The store failed.
    """
    for _ in range(_TRIES):
        # Before choosing: if another attempt begins in between, the next number is taken and the choice is made again.
        number = on_first(world, lambda: last_number(run)) + 1
        loaded = _choose(run, world, resume)
        attempt = on_first(world, lambda n=number, chosen=loaded: _begin(run, n, owner, chosen))  # type: ignore[misc]
        if attempt is not None:
            return Start(attempt, loaded)
    raise CheckpointError(
        f"{_TRIES} other attempts began while this one tried to.", run.uri, "Start the run once, not in parallel."
    )


def _choose(run: RunStore, world: World, resume: str) -> Loaded | None:
    if resume == "never":
        return None
    if resume != "auto":
        return _load_uri(run, world, resume)
    found = latest_good(run, world)
    if found is not None:
        return found
    # An attempt that began from another run's checkpoint and died before its first commit: begin from there again.
    source = on_first(world, lambda: _last_source(run))
    return _load_uri(run, world, source) if source else None


def _load_uri(run: RunStore, world: World, uri: str) -> Loaded:
    place, key = locate(uri)
    origin = open_run_uri(place)
    if origin.uri == run.uri:
        origin = run
    ref = on_first(world, lambda: select(origin, key))
    return Loaded(ref, load(origin, ref, world))


def _last_source(run: RunStore) -> str | None:
    attempts = read_attempts(run)
    return attempts[max(attempts)].source if attempts else None


def _begin(run: RunStore, number: int, owner: str, loaded: Loaded | None) -> Attempt | None:
    """Put up the fence; None where the choice has become stale."""
    own = loaded is not None and loaded.ref.run == run.uri and loaded.ref in find(run)
    try:
        attempt = begin_attempt(
            run,
            number,
            owner,
            # Steps of another run, or of a branch that was fenced off, say nothing about those that are visible here:
            # these are fenced off altogether, and ``source`` says where to go on until this attempt has its own.
            resumed_from=loaded.ref.step if loaded and own else None,
            source=loaded.ref.uri if loaded else None,
        )
    except KeyExistsError:
        return None
    if loaded and own and not run.store.size(f"{loaded.ref.key}/{COMMIT}"):
        return None  # The attempt before this one deleted it meanwhile. From now on the fence forbids that.
    return attempt
