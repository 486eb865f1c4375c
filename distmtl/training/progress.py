"""How far a run has come: everything about it that is neither a parameter nor an optimizer's moment."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from distmtl.tasks.metrics import better
from distmtl.tasks.specs import LOWER_IS_BETTER
from distmtl.training.specs import EarlyStopSpec

Metrics = Mapping[str, Mapping[str, float]]


@dataclass
class Progress:
    """Where the loop stands.

    Attributes:
        step: Steps done.
        metrics: The last evaluation, by task.
        evaluated: The step after which it was made.
        best: Best value of the early-stopping metric so far.
        stale: Evaluations since then.
        ended: "done" or "early_stop" once nothing is left to do.
    """

    step: int = 0
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    evaluated: int = -1
    best: float | None = None
    stale: int = 0
    ended: str | None = None


def note_evaluation(progress: Progress, metrics: Metrics, value: float | None, spec: EarlyStopSpec | None) -> bool:
    """Record an evaluation after ``progress.step`` steps; returns whether to stop early.

    Args:
        progress: Changed in place.
        metrics: The evaluation, by task.
        value: Its value of the early-stopping metric, or None where it has none.
        spec: When to stop; None never does.
    """
    progress.metrics = {task: dict(values) for task, values in metrics.items()}
    progress.evaluated = progress.step
    if spec is None or value is None or not math.isfinite(value):
        return False
    name = spec.metric.rpartition("/")[2]
    margin = -spec.min_delta if name in LOWER_IS_BETTER else spec.min_delta
    if progress.best is None or better(name, value, progress.best + margin):
        progress.best, progress.stale = value, 0
        return False
    progress.stale += 1
    return progress.stale >= spec.patience
