"""Run-file model of the parallel part."""

from typing import Literal

from pydantic import Field

from distmtl.spec import Spec


class ParallelSpec(Spec):
    """How parameters and gradients are spread over workers."""

    strategy: Literal["ddp"] = "ddp"
    """'ddp': every worker holds all parameters; gradients are all-reduced."""
    bucket_mb: float = Field(default=25.0, gt=0.0)
    """Size of a gradient bucket, in MiB."""
    timeout_s: float = Field(default=600.0, gt=0.0)
    """How long a collective may wait for the slowest worker."""
