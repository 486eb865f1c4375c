"""Targets for the tests of this folder."""

from dataclasses import replace

from distmtl.features import LabelInfo
from distmtl.tasks.kinds import Task, build_task
from distmtl.tasks.specs import LossSpec, TaskSpec

BINARY = LabelInfo("y", 10, 2, 0.3, 0.46, 0.0, 1.0, None, (7, 3))
TEXT = LabelInfo("y", 6, 0, 0.0, 0.0, 0.0, 2.0, ("blue", "green", "red"), (1, 2, 3))
NUMBER = LabelInfo("y", 8, 1, 40.0, 12.5, 1.0, 99.0, None, None)

LABELS = {"binary": BINARY, "multiclass": TEXT, "regression": NUMBER}


def task(kind: str, loss: LossSpec | None = None, **changes: object) -> Task:
    """A task of one kind; ``changes`` replace parts of its label's description."""
    spec = TaskSpec.model_validate({"source": "s", "target": "y", "kind": kind, "loss": loss})
    return build_task("t", spec, replace(LABELS[kind], **changes))  # type: ignore[arg-type]
