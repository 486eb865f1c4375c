"""What a store remembers of a run: its attempts, its checkpoints, its metrics. Loads no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from distmtl.checkpoint.attempt import Attempt, read_attempts
from distmtl.checkpoint.commit import CHECKPOINTS, COMMIT, CheckpointRef, Commit, find, read_commit
from distmtl.checkpoint.run import RunRecord, RunStore, read_record
from distmtl.observe.metrics_log import read_metrics


@dataclass(frozen=True)
class CheckpointFacts:
    """A checkpoint that exists.

    Attributes:
        ref: Which.
        commit: What its COMMIT.json says.
        committed: When, by the store's clock; None where the store does not say.
    """

    ref: CheckpointRef
    commit: Commit
    committed: datetime | None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "step": self.commit.step,
            "attempt": self.commit.attempt,
            "uri": self.ref.uri,
            "world_size": self.commit.world_size,
            "bytes": self.commit.total_bytes,
            "metrics": dict(self.commit.metrics),
            "committed": self.committed.isoformat() if self.committed else None,
        }


@dataclass(frozen=True)
class RunFacts:
    """A run.

    Attributes:
        run: Where it is.
        record: What it was started with.
        attempts: Its starts, in order.
        checkpoints: Those that exist, newest first.
        metrics: Lines of its metrics files, attempts merged, in order.
    """

    run: RunStore
    record: RunRecord
    attempts: tuple[Attempt, ...]
    checkpoints: tuple[CheckpointFacts, ...]
    metrics: tuple[Mapping[str, Any], ...]

    @property
    def step(self) -> int:
        """Steps that are safe: those of the newest checkpoint."""
        return self.checkpoints[0].commit.step if self.checkpoints else 0

    def last(self, split: str) -> Mapping[str, Any] | None:
        """The last line of metrics of a split, or None."""
        return next((line for line in reversed(self.metrics) if line.get("split") == split), None)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "run": self.run.uri,
            "name": self.run.name,
            "step": self.step,
            "config_hash": self.record.config_hash,
            "versions": dict(self.record.versions),
            "attempts": [vars(attempt) for attempt in self.attempts],
            "checkpoints": [checkpoint.to_json() for checkpoint in self.checkpoints],
            "last": {split: self.last(split) for split in dict.fromkeys(line["split"] for line in self.metrics)},
            "config": self.record.config,
        }


def run_facts(run: RunStore) -> RunFacts:
    """Everything that the store remembers of a run.

    Raises:
        CheckpointError: There is no run, or a record of it is damaged.
        StoreError: The store cannot be read.
    """
    record = read_record(run)
    attempts = tuple(attempt for _, attempt in sorted(read_attempts(run).items()))
    begun = {attempt.number: attempt.resumed_from or 0 for attempt in attempts}
    return RunFacts(run, record, attempts, tuple(checkpoint_facts(run)), tuple(read_metrics(run.store, begun)))


def checkpoint_facts(run: RunStore) -> list[CheckpointFacts]:
    """The run's checkpoints, newest first.

    Raises:
        CheckpointError: A commit is damaged.
        StoreError: The store cannot be read.
    """
    refs = find(run)
    times = {entry.key: entry.modified for entry in run.store.list(CHECKPOINTS)} if refs else {}
    return [CheckpointFacts(ref, read_commit(run, ref), times.get(f"{ref.key}/{COMMIT}")) for ref in refs]
