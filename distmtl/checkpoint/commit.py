"""What is committed: references to checkpoints, their COMMIT.json, and discovery.

A checkpoint exists when its folder holds a COMMIT.json and ``attempt.counts`` says so. An empty COMMIT.json is a
tombstone: a sweep took the name, so that the folder's writer can never commit what was swept away.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from distmtl.checkpoint.attempt import Attempt, counts, read_attempts
from distmtl.checkpoint.records import seal, unseal
from distmtl.checkpoint.run import RunStore
from distmtl.errors import CheckpointError, KeyMissingError

CHECKPOINTS = "checkpoints"
COMMIT = "COMMIT.json"
MANIFEST = "manifest.json"
_SCHEMA = 1
_FOLDER = re.compile(r"checkpoints/step-(\d{8,})/a-(\d+)-([0-9a-f]+)")
_IN_FOLDER = re.compile(r"(checkpoints/step-\d{8,}/a-\d+-[0-9a-f]+)/(.+)")


@dataclass(frozen=True, order=True)
class CheckpointRef:
    """Names one checkpoint; the order is from old to new.

    Attributes:
        step: Steps done.
        attempt: Number of the attempt that wrote it.
        id: Id of that attempt.
        run: URI of the run.
    """

    step: int
    attempt: int
    id: str
    run: str = field(compare=False)

    @property
    def key(self) -> str:
        """Its folder within the run."""
        return f"{CHECKPOINTS}/step-{self.step:08}/a-{self.attempt}-{self.id}"

    @property
    def uri(self) -> str:
        """Where it is."""
        return f"{self.run}/{self.key}"


@dataclass(frozen=True)
class Commit:
    """What COMMIT.json says.

    Attributes:
        step: Steps done.
        attempt: Number of the attempt that wrote it.
        id: Id of that attempt.
        world_size: Workers that wrote it.
        manifest_digest: ``records.digest`` of manifest.json.
        manifest_bytes: Its size.
        total_bytes: Size of all files that the manifest names.
        metrics: '<task>/<metric>' on the valid split; NaN where a metric was undefined.
    """

    step: int
    attempt: int
    id: str
    world_size: int
    manifest_digest: str
    manifest_bytes: int
    total_bytes: int
    metrics: Mapping[str, float]

    def to_bytes(self) -> bytes:
        """The file's content. It names its attempt, as ``store.claim`` asks."""
        metrics = {name: value if math.isfinite(value) else None for name, value in self.metrics.items()}
        return seal({"schema": _SCHEMA, **self.__dict__, "metrics": metrics})

    @staticmethod
    def from_bytes(data: bytes, where: str) -> "Commit":
        """Parse the file.

        Raises:
            CheckpointError: It is damaged or of a later version.
        """
        values = unseal(data, where)
        if values.pop("schema", None) != _SCHEMA:
            raise CheckpointError(f"the commit is not of schema {_SCHEMA}.", where, "Upgrade distmtl.")
        metrics = {name: math.nan if value is None else value for name, value in values.pop("metrics").items()}
        return Commit(**values, metrics=metrics)


@dataclass(frozen=True)
class Folder:
    """A checkpoint's folder as a listing shows it.

    Attributes:
        ref: Which.
        sizes: Bytes of each object in it, by key within it.
    """

    ref: CheckpointRef
    sizes: Mapping[str, int]

    @property
    def committed(self) -> bool:
        """Whether there is a COMMIT.json that is no tombstone."""
        return self.sizes.get(COMMIT, 0) > 0


def parse_key(run: RunStore, key: str) -> CheckpointRef | None:
    """The reference that a folder's key names, or None."""
    match = _FOLDER.fullmatch(key)
    return CheckpointRef(int(match[1]), int(match[2]), match[3], run.uri) if match else None


def scan(run: RunStore) -> list[Folder]:
    """Every checkpoint folder with anything in it, committed or not, from old to new. One listing."""
    sizes: dict[str, dict[str, int]] = {}
    for entry in run.store.list(CHECKPOINTS):
        match = _IN_FOLDER.fullmatch(entry.key)
        if match:
            sizes.setdefault(match[1], {})[match[2]] = entry.size
    folders = ((parse_key(run, key), found) for key, found in sizes.items())
    return sorted((Folder(ref, found) for ref, found in folders if ref), key=lambda folder: folder.ref)


def visible(folders: list[Folder], attempts: Mapping[int, Attempt]) -> list[Folder]:
    """Those that exist: committed and not fenced off. Newest first."""
    kept = (
        folder
        for folder in folders
        if folder.committed and counts(folder.ref.step, folder.ref.attempt, folder.ref.id, attempts)
    )
    return sorted(kept, key=lambda folder: folder.ref, reverse=True)


def find(run: RunStore) -> list[CheckpointRef]:
    """The run's checkpoints, newest first: two listings, however many there are, and one read per attempt."""
    # Commits before attempts: whatever fence stood when a commit was listed is then known.
    folders = scan(run)
    return [folder.ref for folder in visible(folders, read_attempts(run))]


def read_commit(run: RunStore, ref: CheckpointRef) -> Commit:
    """The COMMIT.json of a checkpoint.

    Raises:
        CheckpointError: There is none, or it is damaged, or it is another checkpoint's.
    """
    where = f"{ref.uri}/{COMMIT}"
    try:
        data = run.store.get(f"{ref.key}/{COMMIT}")
    except KeyMissingError as error:
        raise CheckpointError("the checkpoint was never committed.", where, "Choose another one.") from error
    commit = Commit.from_bytes(data, where)
    if (commit.step, commit.attempt, commit.id) != (ref.step, ref.attempt, ref.id):
        raise CheckpointError("the commit belongs to another checkpoint.", where, "Choose another one.")
    return commit


def locate(uri: str) -> tuple[str, str]:
    """Split the URI of a run or of something under its checkpoints into the run's URI and the key, which may be ""."""
    run, separator, rest = uri.rstrip("/").partition(f"/{CHECKPOINTS}/")
    return run, f"{CHECKPOINTS}/{rest}" if separator else ""


def select(run: RunStore, key: str) -> CheckpointRef:
    """The checkpoint at a key: its own folder, its step's folder, or "" for the newest.

    A folder that is named in full counts even where a later attempt has fenced it off.

    Raises:
        CheckpointError: There is none.
    """
    ref = parse_key(run, key)
    if ref is not None:
        read_commit(run, ref)
        return ref
    for found in find(run):
        if key in {"", found.key.rpartition("/")[0]}:
            return found
    place = f"{run.uri}/{key}" if key else run.uri
    raise CheckpointError("there is no checkpoint here.", place, "List them with 'distmtl checkpoints RUN_URI'.")


def as_metrics(values: Mapping[str, Any]) -> dict[str, float]:
    """Metrics as plain floats."""
    return {name: float(value) for name, value in values.items()}
