"""Attempts: the starts of a run, numbered by create-only records, and the fence that each puts before earlier ones.

An attempt that begins says which of the run's steps it goes on from. From then on a commit of an earlier attempt counts
only up to that step. So a process that everybody believes dead may write what it likes: nobody sees it.
"""

import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from distmtl.checkpoint.records import seal, unseal
from distmtl.checkpoint.run import RunStore
from distmtl.errors import CheckpointError, SupersededError
from distmtl.store.claim import claim

_FOLDER = "attempts"
_KEY = re.compile(r"attempts/(\d{6,})\.json")


@dataclass(frozen=True)
class Attempt:
    """One start of a run.

    Attributes:
        number: From 1, in order of beginning.
        id: Drawn at random: two processes that believe they hold the same number differ in it.
        owner: Host, process and runtime, for people.
        resumed_from: Step of this run that it goes on from; None fences all that earlier attempts committed.
        source: URI of the checkpoint it started from, which may be another run's; None for a fresh start.
    """

    number: int
    id: str
    owner: str
    resumed_from: int | None
    source: str | None


def read_attempts(run: RunStore) -> dict[int, Attempt]:
    """All attempts that have begun, by number.

    Raises:
        CheckpointError: A record is damaged; guessing at a fence could resume from an abandoned branch.
    """
    attempts = {}
    for key in _keys(run).values():
        try:
            attempt = Attempt(**unseal(run.store.get(key), f"{run.uri}/{key}"))
        except TypeError as error:
            raise CheckpointError(
                "the attempt's record has other fields.", f"{run.uri}/{key}", "Upgrade it."
            ) from error
        attempts[attempt.number] = attempt
    return attempts


def last_number(run: RunStore) -> int:
    """Number of the last attempt that has begun; 0 before the first."""
    return max(_keys(run), default=0)


def begin_attempt(
    run: RunStore, number: int, owner: str, *, resumed_from: int | None = None, source: str | None = None
) -> Attempt:
    """Begin the attempt ``number``.

    ``number`` is one more than ``last_number`` was *before* the checkpoint to go on from was chosen. If another attempt
    began since, the number is taken and the choice is stale: choose again.

    Raises:
        KeyExistsError: Another attempt holds the number.
    """
    attempt = Attempt(number, secrets.token_hex(6), owner, resumed_from, source)
    claim(run.store, f"{_FOLDER}/{number:06}.json", seal(asdict(attempt)))
    return attempt


def ensure_current(run: RunStore, attempt: Attempt) -> None:
    """Check that no later attempt has begun, and that the number is this attempt's own.

    Raises:
        SupersededError: One has.
    """
    keys = _keys(run)
    last = max(keys, default=0)
    if last == attempt.number:
        holder = Attempt(**unseal(run.store.get(keys[last]), f"{run.uri}/{keys[last]}"))
        if holder == attempt:
            return
    raise SupersededError(f"attempt {last} has taken over from attempt {attempt.number} ({attempt.owner}).", run.uri)


def counts(step: int, number: int, attempt_id: str, attempts: Mapping[int, Attempt]) -> bool:
    """Whether an attempt's commit of a step counts: the number is its own, and no later fence lies before the step."""
    holder = attempts.get(number)
    if holder is None or holder.id != attempt_id:
        return False
    fences = (later.resumed_from for later in attempts.values() if later.number > number)
    return all(fence is not None and step <= fence for fence in fences)


def _keys(run: RunStore) -> dict[int, str]:
    found = ((_KEY.fullmatch(entry.key), entry.key) for entry in run.store.list(_FOLDER))
    return {int(match[1]): key for match, key in found if match}
