"""What a start of a run goes on from, and whether its run file allows that."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from distmtl.checkpoint.attempt import read_attempts
from distmtl.checkpoint.commit import CheckpointRef, find, locate, select
from distmtl.checkpoint.reader import read_manifest
from distmtl.checkpoint.run import (
    RunRecord,
    RunStore,
    create_record,
    open_run_uri,
    rewrite_record,
)
from distmtl.config.hash import check_resume, config_hash
from distmtl.config.run import RunConfig
from distmtl.errors import CheckpointError
from distmtl.orchestrate.prepare import Prepared


@dataclass(frozen=True)
class Origin:
    """A checkpoint to go on from, as far as its manifest tells.

    Attributes:
        ref: Which.
        values: Progress, facts and the rest, without tensors.
        config: The run file that wrote it.
        shapes: Shapes of its tensors, by name.
    """

    ref: CheckpointRef
    values: Mapping[str, Any]
    config: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, ...]]

    @property
    def digests(self) -> dict[str, str]:
        """The versions of the sources that it was trained on, by name."""
        return dict(self.values["facts"]["digests"])

    def has_ended(self, prepared: Prepared) -> bool:
        """Whether nothing is left to do for a run that goes on from here."""
        progress = self.values["progress"]
        stopped = progress["ended"] == "early_stop" and prepared.config.train.early_stop is not None
        return bool(stopped or progress["step"] >= prepared.steps)


def find_origin(run: RunStore, resume: str) -> Origin | None:
    """The checkpoint that "auto", "never" or a URI stands for; None for a fresh start. Loads no tensor.

    Raises:
        CheckpointError: The checkpoint that the URI names cannot be used.
    """
    if resume == "never":
        return None
    if resume != "auto":
        place, key = locate(resume)
        other = open_run_uri(place)
        return _read(other, select(other, key))
    for ref in find(run):
        try:
            return _read(run, ref)
        except CheckpointError:
            continue  # the loader that follows says why it falls back
    # An attempt that began from elsewhere and died before its first commit: it begins there again.
    attempts = read_attempts(run)
    source = attempts[max(attempts)].source if attempts else None
    return find_origin(run, source) if source else None


def _read(run: RunStore, ref: CheckpointRef) -> Origin:
    manifest = read_manifest(run, ref)
    shapes = {name: record.spec.shape for name, record in manifest.tensors.items()}
    return Origin(ref, manifest.values, manifest.values["facts"]["config"], shapes)


def allowed_changes(config: RunConfig, origin: Origin | None, allow_change: tuple[str, ...]) -> list[str]:
    """A sentence for every change against the checkpoint's run file that is let through.

    Raises:
        ConfigError: Another key that decides the result differs.
    """
    if origin is None:
        return []
    return check_resume(origin.config, config.model_dump(mode="json"), allow_change)


def same_balancer(old: Mapping[str, Any], new: RunConfig) -> bool:
    """Whether the balancer of a checkpoint's run file is of this one's kind, so that its state can be gone on from."""
    was, now = old["balancing"], new.model_dump(mode="json")["balancing"]
    return all(was.get(key) == now.get(key) for key in ("kind", "target"))


def write_record(run: RunStore, config: RunConfig) -> None:
    """Write the run's record, or bring it up to date, once the run is sure to start."""
    record = RunRecord(config.model_dump(mode="json"), config_hash(config), versions())
    if create_record(run, record).config != record.config:
        rewrite_record(run, record)


def versions() -> dict[str, str]:
    """Versions of what decides a result besides the run file."""
    return {"python": platform.python_version()} | {
        name: version(name) for name in ("distmtl", "torch", "numpy", "pyarrow", "ray")
    }
