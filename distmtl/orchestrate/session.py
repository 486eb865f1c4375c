"""A run's dealings with the outside while it trains: metrics, evaluations, checkpoints, events."""

import math
import time
from collections.abc import Sequence
from typing import Any

from distmtl.checkpoint.agreement import on_first
from distmtl.checkpoint.attempt import Attempt
from distmtl.checkpoint.commit import CheckpointRef
from distmtl.checkpoint.retention import collect as collect_garbage
from distmtl.checkpoint.run import RunStore
from distmtl.checkpoint.writer import save as save_checkpoint
from distmtl.data.blocks import LoaderSource
from distmtl.observe.metrics_log import MetricsLog
from distmtl.orchestrate.assemble import Assembled, eval_sources, run_facts
from distmtl.orchestrate.job import Job
from distmtl.orchestrate.prepare import VALID, Prepared
from distmtl.parallel.world import World
from distmtl.tasks.metrics import aggregate
from distmtl.training.evaluate import Metrics, evaluate
from distmtl.training.progress import Progress, note_evaluation
from distmtl.training.runtime import Runtime
from distmtl.training.state import collect

EVAL_ROWS = 4096
"""Most rows per forward pass in evaluation; the same for every world size, so that predictions are."""


class Session:
    """The loop's three outlets: :meth:`evaluate`, :meth:`save` and :meth:`log`.

    Attributes:
        checkpoint: The last one that this attempt committed or began from.
    """

    def __init__(
        self,
        job: Job,
        runtime: Runtime,
        prepared: Prepared,
        assembled: Assembled,
        run: RunStore,
        attempt: Attempt,
        checkpoint: CheckpointRef | None,
    ) -> None:
        self.checkpoint = checkpoint
        self._runtime = runtime
        self._world = runtime.world
        self._prepared = prepared
        self._config = prepared.config
        self._assembled = assembled
        self._run = run
        self._attempt = attempt
        self._facts = run_facts(prepared, job.config)
        self._valid = eval_sources(prepared, VALID)
        self._metrics = MetricsLog(run.store, f"metrics-{attempt.number}.jsonl") if self._world.rank == 0 else None
        self._last_line: tuple[float, int] | None = None

    def close(self) -> None:
        """Write the last metrics."""
        if self._metrics is not None:
            self._metrics.close()

    def begin(self, step: int) -> None:
        """Tell the console what is about to happen."""
        self._last_line = (time.monotonic(), step)
        self._runtime.emit(
            {
                "kind": "start",
                "run": self._run.uri,
                "step": step,
                "steps": self._prepared.steps,
                "workers": self._world.size,
            }
        )

    def evaluate(self, progress: Progress) -> bool:
        """Measure on the valid split; returns whether to stop early."""
        metrics = measure(self._prepared, self._assembled, self._valid, self._world)
        scores = aggregate(metrics)
        spec = self._config.train.early_stop
        losses = [
            place.weight * metrics[place.task.name]["loss"]
            for place in self._assembled.places
            if place.task.name in metrics
        ]
        scores["loss"] = sum(loss for loss in losses if math.isfinite(loss))
        stop = note_evaluation(progress, metrics, scores.get(spec.metric) if spec else None, spec)
        if metrics:
            self._write({"step": progress.step, "split": VALID, "tasks": metrics})
            self._runtime.emit({"kind": "eval", "step": progress.step, "split": VALID, "tasks": metrics})
        return stop

    def save(self, progress: Progress) -> None:
        """Commit a checkpoint, then delete what retention no longer keeps."""
        state = collect(self._assembled.parts, progress, self._facts)
        on_first(self._world, self._flush)
        metrics = aggregate(progress.metrics) if progress.evaluated == progress.step else {}
        ref = save_checkpoint(self._run, self._attempt, progress.step, state, self._world, metrics)
        self.checkpoint = ref
        self._runtime.committed(ref.uri, progress.step, metrics)
        on_first(self._world, lambda: collect_garbage(self._run, self._attempt, self._config.checkpoint))

    def log(self, progress: Progress, line: dict[str, Any]) -> None:
        """Take a line of training metrics."""
        self._write(line)
        now, step = time.monotonic(), progress.step
        before, step_before = self._last_line or (now, step)
        self._last_line = (now, step)
        step_s = (now - before) / max(1, step - step_before)
        self._runtime.emit(
            {
                "kind": "progress",
                "step": step,
                "steps": self._prepared.steps,
                "rows_per_s": self._config.batch.rows / step_s if step_s > 0 else 0.0,
                "eta_s": step_s * (self._prepared.steps - step),
                "losses": {name: task["loss"] for name, task in line["tasks"].items()},
            }
        )

    def _flush(self) -> None:
        if self._metrics is not None:
            self._metrics.flush()

    def _write(self, line: dict[str, Any]) -> None:
        if self._metrics is not None:
            self._metrics.write(line)


def measure(prepared: Prepared, assembled: Assembled, sources: Sequence[LoaderSource], world: World) -> Metrics:
    """Metrics of all tasks that have rows in these splits; a collective."""
    rows = prepared.config.batch.micro_rows or min(prepared.config.batch.rows, EVAL_ROWS)
    with assembled.parts.step.averaged():
        return evaluate(
            assembled.parts.model,
            sources,
            assembled.places,
            world,
            rows=rows,
            precision=prepared.config.train.precision,
        )
