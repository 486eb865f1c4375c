"""Which checkpoints to delete, and deleting them so that no moment shows half of one."""

import contextlib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from distmtl.checkpoint.attempt import Attempt, counts, ensure_current, read_attempts
from distmtl.checkpoint.commit import CHECKPOINTS, COMMIT, MANIFEST, CheckpointRef, Folder, parse_key, read_commit, scan
from distmtl.checkpoint.commit import visible as visible_folders
from distmtl.checkpoint.reader import verify
from distmtl.checkpoint.run import RunStore
from distmtl.checkpoint.specs import CheckpointSpec
from distmtl.errors import CheckpointError, KeyExistsError
from distmtl.tasks.specs import LOWER_IS_BETTER

KEEP_VERIFIED = 2
"""Nothing is deleted unless this many that pass ``verify`` remain."""


@dataclass(frozen=True)
class Scored:
    """A checkpoint and its metrics."""

    ref: CheckpointRef
    metrics: Mapping[str, float]


def score(metrics: Mapping[str, float], name: str) -> float | None:
    """A metric such that more is better, or None where it is absent or not finite.

    Args:
        metrics: '<task>/<metric>' by name.
        name: '<task>/<metric>', or 'mean/<metric>': over the tasks that report it, unless ``metrics`` has it itself.
    """
    kind = name.rpartition("/")[2]
    if name in metrics:
        found = [metrics[name]]
    elif name == f"mean/{kind}":
        found = [value for key, value in metrics.items() if key.rpartition("/")[2] == kind]
    else:
        found = []
    mean = sum(found) / len(found) if found else math.nan
    if not math.isfinite(mean):
        return None
    return -mean if kind in LOWER_IS_BETTER else mean


def choose_deletions(
    checkpoints: Sequence[Scored], spec: CheckpointSpec, protected: Collection[CheckpointRef] = ()
) -> list[CheckpointRef]:
    """Which checkpoints the spec does not keep, oldest first. Of equal scores the newer is the better.

    Args:
        checkpoints: All that are visible, in any order.
        spec: ``keep_last`` and ``keep_best``.
        protected: Kept whatever the spec says.
    """
    ordered = sorted(checkpoints, key=lambda checkpoint: checkpoint.ref)
    kept = {checkpoint.ref for checkpoint in ordered[-spec.keep_last :]} | set(protected)
    if spec.keep_best:
        scored = [(score(item.metrics, spec.keep_best.metric), item.ref) for item in ordered]
        ranked = sorted((value, ref) for value, ref in scored if value is not None)
        kept |= {ref for _, ref in ranked[-spec.keep_best.n :]}
    return [checkpoint.ref for checkpoint in ordered if checkpoint.ref not in kept]


def collect(run: RunStore, attempt: Attempt, spec: CheckpointSpec) -> list[CheckpointRef]:
    """Delete what the spec does not keep. Call on one rank, after a commit.

    Never deleted: what this attempt started from, and the last ``KEEP_VERIFIED`` that verify.

    Returns:
        What was deleted, oldest first.

    Raises:
        SupersededError: A later attempt has begun; what this one sees may be what that one needs.
    """
    refs = [folder.ref for folder in visible_folders(scan(run), read_attempts(run))]
    scored = [Scored(ref, _metrics(run, ref) if spec.keep_best else {}) for ref in refs]
    doomed = choose_deletions(scored, spec, [ref for ref in refs if ref.uri == attempt.source])
    doomed = _spare_verified(run, refs, doomed)
    ensure_current(run, attempt)
    for ref in doomed:
        _delete(run, ref)
    return doomed


def sweep_orphans(run: RunStore, attempt: Attempt) -> list[CheckpointRef]:
    """Delete what earlier attempts left: folders without a commit, and commits that a fence hides. Call on one rank.

    Hidden commits stay until ``KEEP_VERIFIED`` visible ones verify, so that starting anew by mistake loses nothing at
    once.

    Returns:
        What was deleted.

    Raises:
        SupersededError: A later attempt has begun.
    """
    ensure_current(run, attempt)
    attempts = read_attempts(run)
    folders = {folder.ref: folder for folder in scan(run)}
    shown = [folder.ref for folder in visible_folders(list(folders.values()), attempts)]
    settled = sum(_is_whole(run, ref) for ref in shown[:KEEP_VERIFIED]) >= KEEP_VERIFIED
    sources = {known.source for known in attempts.values()}
    swept = []
    for ref in sorted(_all_refs(run) | set(folders)):
        folder = folders.get(ref, Folder(ref, {}))
        spared = ref.uri in sources or (folder.committed and not settled)
        if ref.attempt >= attempt.number or ref in shown or spared or set(folder.sizes) == {COMMIT}:
            continue
        if not folder.committed and counts(ref.step, ref.attempt, ref.id, attempts):
            # No fence hides this one: were its writer alive, it could still commit. Take the name away from it first.
            if _bury(run, ref):
                swept.append(ref)
            continue
        _delete(run, ref)
        swept.append(ref)
    return swept


def _metrics(run: RunStore, ref: CheckpointRef) -> Mapping[str, float]:
    try:
        return read_commit(run, ref).metrics
    except CheckpointError:
        return {}  # Damaged: it can be the last, but not the best.


def _spare_verified(run: RunStore, refs: list[CheckpointRef], doomed: list[CheckpointRef]) -> list[CheckpointRef]:
    """Take from the doomed, newest first, as many as it needs for ``KEEP_VERIFIED`` whole ones to remain."""
    if not doomed:
        return doomed
    whole = 0
    for ref in refs:
        if ref not in doomed and _is_whole(run, ref):
            whole += 1
        if whole == KEEP_VERIFIED:
            return doomed
    for ref in reversed(doomed):
        if whole < KEEP_VERIFIED and _is_whole(run, ref):
            whole += 1
            doomed = [other for other in doomed if other != ref]
    return doomed


def _is_whole(run: RunStore, ref: CheckpointRef) -> bool:
    with contextlib.suppress(CheckpointError):
        verify(run, ref, deep=False)
        return True
    return False


def _delete(run: RunStore, ref: CheckpointRef) -> None:
    """Delete a checkpoint: its commit first, so that it is whole until it is gone."""
    run.store.delete([f"{ref.key}/{COMMIT}"])
    run.store.clear(ref.key)


def _bury(run: RunStore, ref: CheckpointRef) -> bool:
    """Put a tombstone on an uncommitted folder and delete the rest; False if it was committed at this very moment."""
    try:
        run.store.put_new(f"{ref.key}/{COMMIT}", b"")
    except KeyExistsError:
        if run.store.size(f"{ref.key}/{COMMIT}"):
            return False
    run.store.delete([f"{ref.key}/{MANIFEST}"])
    for part in ("data", "state"):
        run.store.clear(f"{ref.key}/{part}")
    return True


def _all_refs(run: RunStore) -> set[CheckpointRef]:
    """Every checkpoint folder, those without any object included: a killed writer may have left unfinished files."""
    steps = run.store.list_folders(CHECKPOINTS)
    found = (parse_key(run, key) for step in steps for key in run.store.list_folders(step))
    return {ref for ref in found if ref}
