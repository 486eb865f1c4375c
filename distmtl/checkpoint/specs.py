"""Run-file models of checkpoints."""

from pydantic import Field

from distmtl.spec import Spec


class KeepBestSpec(Spec):
    """Which checkpoints to keep for their score."""

    metric: str = "mean/auroc"
    """'<task>/<metric>', or 'mean/<metric>' over the tasks that report it."""
    n: int = Field(default=1, ge=1)
    """How many."""


class CheckpointSpec(Spec):
    """When checkpoints are taken and which are kept. The last step always commits one."""

    every: int | None = Field(default=200, ge=1)
    """Steps between checkpoints; null commits only the last step."""
    keep_last: int = Field(default=3, ge=2)
    """How many of the newest to keep."""
    keep_best: KeepBestSpec | None = None
    """Which to keep besides, for their score on the valid split."""
