"""Run-file models of training: optimizer, schedule, length, precision."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from distmtl.spec import Spec


class ConstantSpec(Spec):
    """The same learning rate after the warm-up."""

    kind: Literal["constant"] = "constant"
    warmup_steps: int = Field(default=0, ge=0)
    """Steps over which the rate rises linearly from 0."""


class CosineSpec(Spec):
    """Half a cosine from the full rate to the last one (Loshchilov & Hutter 2017)."""

    kind: Literal["cosine"] = "cosine"
    warmup_steps: int = Field(default=0, ge=0)
    """Steps over which the rate rises linearly from 0."""
    final_ratio: float = Field(default=0.0, ge=0.0, le=1.0)
    """The last rate over the full one."""


class LinearSpec(Spec):
    """A straight line from the full rate to the last one."""

    kind: Literal["linear"] = "linear"
    warmup_steps: int = Field(default=0, ge=0)
    """Steps over which the rate rises linearly from 0."""
    final_ratio: float = Field(default=0.0, ge=0.0, le=1.0)
    """The last rate over the full one."""


ScheduleSpec = Annotated[ConstantSpec | CosineSpec | LinearSpec, Field(discriminator="kind")]


class OptimizerSpec(Spec):
    """What all optimizers share."""

    lr: float = Field(default=1e-3, gt=0.0)
    """The full learning rate."""
    private_lr: float | None = Field(default=None, gt=0.0)
    """The full learning rate of heads and other parameters that only some tasks use; by default 'lr'."""
    weight_decay: float = Field(default=0.0, ge=0.0)
    """Decay of the weights."""
    decay_norms_and_biases: bool = False
    """Whether one-dimensional parameters (norms, biases) decay too."""
    schedule: ScheduleSpec = ConstantSpec()
    """How the learning rate changes over the run."""
    clip_norm: float | None = Field(default=None, gt=0.0)
    """Largest norm of the whole gradient; null leaves it as it is."""


class AdamWSpec(OptimizerSpec):
    """AdamW (Loshchilov & Hutter 2019)."""

    kind: Literal["adamw"] = "adamw"
    beta1: float = Field(default=0.9, ge=0.0, lt=1.0)
    """Decay of the running mean of gradients."""
    beta2: float = Field(default=0.999, ge=0.0, lt=1.0)
    """Decay of the running mean of squared gradients."""
    eps: float = Field(default=1e-8, gt=0.0)
    """Added to the denominator."""
    weight_decay: float = Field(default=0.01, ge=0.0)
    """Decay of the weights, apart from the gradient."""


class SgdSpec(OptimizerSpec):
    """Stochastic gradient descent with momentum."""

    kind: Literal["sgd"] = "sgd"
    momentum: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the last update that the next one keeps."""
    nesterov: bool = False
    """Whether to look ahead by the momentum (Nesterov 1983)."""


OptimSpec = Annotated[AdamWSpec | SgdSpec, Field(discriminator="kind")]


class EarlyStopSpec(Spec):
    """Stop when a metric of the valid split no longer improves."""

    metric: str
    """'<task>/<metric>', 'mean/<metric>', or 'loss'."""
    patience: int = Field(default=5, ge=1)
    """Evaluations without a better value before the run stops."""
    min_delta: float = Field(default=0.0, ge=0.0)
    """By how much a value must be better to count."""


class QuarantineSpec(Spec):
    """Training on without blocks that stay unreadable (docs/reading.md)."""

    max_blocks: int = Field(default=0, ge=0)
    """Blocks of all sources together that other blocks may stand in for. 0: the first one ends the run."""


class TrainSpec(Spec):
    """How long and how exactly to train."""

    steps: int | None = Field(default=None, ge=1)
    """Optimizer steps. Give this or 'passes'; may be raised when a run is resumed."""
    passes: float | None = Field(default=None, gt=0.0)
    """Rows to draw over the rows of all sources together."""
    eval_every: int | None = Field(default=None, ge=1)
    """Steps between evaluations on the valid split; null evaluates at the end only."""
    log_every: int = Field(default=20, ge=1)
    """Steps between lines of training metrics."""
    precision: Literal["fp32", "bf16", "fp16", "fp64"] = "fp32"
    """bf16 and fp16 compute in half precision on fp32 weights; fp16 needs CUDA; fp64 is for tests."""
    objective: Literal["task_mean", "row_mean"] = "task_mean"
    """'task_mean': weight x mean over the task's valid labels of the step. 'row_mean': divided by all rows of the
    step instead, so that the mixture weighs too."""
    early_stop: EarlyStopSpec | None = None
    """When to stop before the last step; null never does."""
    quarantine: QuarantineSpec = QuarantineSpec()
    """What happens when a block of a train split cannot be read; evaluation always ends with an error then."""
    ema: float | None = Field(default=None, ge=0.0, lt=1.0)
    """What a moving average of the parameters keeps of itself in a step, such as .999; evaluations and 'distmtl eval'
    use the average. null keeps none."""
    compile: bool = False
    """Whether the trunk is compiled (torch.compile): the first steps take longer, and on CPU need a C++ compiler."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """'auto' takes CUDA where there is a GPU for every worker of a node."""

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.steps is None) == (self.passes is None):
            raise ValueError("give either 'steps' or 'passes'")
        return self
