"""The learning rate as a pure function of the step: nothing to save, nothing to restore."""

import math

from distmtl.training.specs import ConstantSpec, CosineSpec, LinearSpec


def rate_factor(spec: ConstantSpec | CosineSpec | LinearSpec, step: int, steps: int) -> float:
    """The share of the full learning rate that step ``step`` of ``steps`` uses.

    The rate rises linearly over ``warmup_steps`` (step 0 has 1/warmup_steps of it) and then follows the schedule
    over the remaining steps. A run that is extended computes the schedule for its new length from there on.
    """
    if step < spec.warmup_steps:
        return (step + 1) / spec.warmup_steps
    if isinstance(spec, ConstantSpec):
        return 1.0
    done = min(1.0, (step - spec.warmup_steps) / max(1, steps - spec.warmup_steps))
    remaining = (1.0 + math.cos(math.pi * done)) / 2.0 if isinstance(spec, CosineSpec) else 1.0 - done
    return spec.final_ratio + (1.0 - spec.final_ratio) * remaining
