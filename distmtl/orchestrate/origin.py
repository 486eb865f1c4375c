"""What a start of a run goes on from, and whether its run file allows that."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from distmtl.checkpoint.commit import CheckpointRef, find, locate, select
from distmtl.checkpoint.reader import read_manifest
from distmtl.checkpoint.run import (
    RunRecord,
    RunStore,
    create_record,
    open_run_uri,
    read_record,
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
        config: The run file of the run that wrote it.
    """

    ref: CheckpointRef
    values: Mapping[str, Any]
    config: Mapping[str, Any]

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
    return None


def _read(run: RunStore, ref: CheckpointRef) -> Origin:
    return Origin(ref, read_manifest(run, ref).values, read_record(run).config)


def agree_record(run: RunStore, config: RunConfig, origin: Origin | None, allow_change: tuple[str, ...]) -> list[str]:
    """Write or update the run's record; returns a sentence for every change that was let through.

    Raises:
        ConfigError: A key that decides the result differs from the run that is gone on with.
    """
    values = config.model_dump(mode="json")
    notes = check_resume(origin.config, values, allow_change) if origin is not None else []
    record = RunRecord(values, config_hash(config), versions())
    standing = create_record(run, record)
    if standing.config != record.config:
        rewrite_record(run, record)
    return notes


def versions() -> dict[str, str]:
    """Versions of what decides a result besides the run file."""
    return {"python": platform.python_version()} | {
        name: version(name) for name in ("distmtl", "torch", "numpy", "pyarrow", "ray")
    }
