"""Run-file model of the parallel part."""

from typing import Literal, Self

from pydantic import Field, model_validator

from distmtl.spec import Spec


class ParallelSpec(Spec):
    """How parameters and gradients are spread over workers."""

    strategy: Literal["ddp", "fsdp", "hsdp"] = "ddp"
    """'ddp': every worker holds all parameters; 'fsdp': each holds a share of the trunk's; 'hsdp': groups of
    'shard_size' workers do, and each group has a copy."""
    shard_size: int | None = Field(default=None, ge=1)
    """Workers that share one copy of the trunk under 'hsdp'; null takes those of a node."""
    reshard_after_forward: bool = True
    """Whether the trunk's blocks are freed between forward and backward pass: less memory, one more all-gather."""
    cpu_offload: bool = False
    """Whether sharded parameters, gradients and optimizer state lie in the host's memory."""
    activation_checkpointing: bool = False
    """Whether the trunk's blocks are computed again in the backward pass instead of kept; with any strategy."""
    bucket_mb: float = Field(default=25.0, gt=0.0)
    """Size of a gradient bucket of 'ddp', in MiB."""
    timeout_s: float = Field(default=600.0, gt=0.0)
    """How long a collective may wait for the slowest worker."""

    @model_validator(mode="after")
    def _sharded_options(self) -> Self:
        if self.shard_size is not None and self.strategy != "hsdp":
            raise ValueError("'shard_size' belongs to strategy: hsdp")
        if self.cpu_offload and self.strategy == "ddp":
            raise ValueError("'cpu_offload' belongs to strategy: fsdp or hsdp")
        return self
