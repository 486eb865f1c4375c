"""Optimizers: parameter groups, and state as named tensors."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from distmtl.checkpoint.sharding import fill
from distmtl.errors import CheckpointError
from distmtl.models.base import MultiTaskModel
from distmtl.training.schedule import rate_factor
from distmtl.training.specs import AdamWSpec, SgdSpec


def build_optimizer(spec: AdamWSpec | SgdSpec, model: MultiTaskModel) -> torch.optim.Optimizer:
    """An optimizer over the parameters that require a gradient.

    Trunk and private parameters have their own full rate; one-dimensional parameters (norms, biases) do not decay
    unless the spec says so. Parameters whose gradient is None are skipped: no decay, no moment update (idle law).
    """
    groups = list(_groups(spec, model))
    if isinstance(spec, SgdSpec):
        return torch.optim.SGD(groups, lr=spec.lr, momentum=spec.momentum, nesterov=spec.nesterov)
    return torch.optim.AdamW(groups, lr=spec.lr, betas=(spec.beta1, spec.beta2), eps=spec.eps, fused=True)


def _groups(spec: AdamWSpec | SgdSpec, model: MultiTaskModel) -> Iterator[dict[str, object]]:
    """One group per rate and decay: each costs the optimizer a call in every step. Sharded parameters stand apart."""
    members: dict[tuple[float, float, bool], list[nn.Parameter]] = {}
    for part, rate in ((model.trunk, spec.lr), (model.private, spec.private_lr or spec.lr)):
        for parameter in part.parameters():
            if parameter.requires_grad:
                decays = parameter.ndim > 1 or spec.decay_norms_and_biases
                key = rate, spec.weight_decay if decays else 0.0, isinstance(parameter, DTensor)
                members.setdefault(key, []).append(parameter)
    for (rate, decay, _), parameters in members.items():
        yield {"params": parameters, "lr": rate, "full_lr": rate, "weight_decay": decay}


def set_rate(optimizer: torch.optim.Optimizer, spec: AdamWSpec | SgdSpec, step: int, steps: int) -> float:
    """Set every group's rate for this step; returns the trunk's."""
    factor = rate_factor(spec.schedule, step, steps)
    for group in optimizer.param_groups:
        group["lr"] = group["full_lr"] * factor
    return spec.lr * factor


def optimizer_tensors(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """The optimizer's state as ``<parameter name>.<slot>`` tensors; parameters never touched have none."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    return {
        f"{names[parameter]}.{slot}": value
        for parameter, slots in optimizer.state.items()
        for slot, value in slots.items()
        if isinstance(value, Tensor)
    }


def load_optimizer_tensors(optimizer: torch.optim.Optimizer, model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Put back what :func:`optimizer_tensors` gave.

    Raises:
        CheckpointError: A tensor belongs to no parameter of this model.
    """
    parameters = dict(model.named_parameters())
    optimizer.state.clear()
    for key, value in tensors.items():
        name, _, slot = key.rpartition(".")
        if name not in parameters:
            raise CheckpointError(f"the checkpoint has optimizer state for '{name}', which this model does not have.")
        parameter = parameters[name]
        # the fused update wants its step counters (float32) beside the parameter, like the moments
        if slot == "step":
            optimizer.state[parameter][slot] = value.to(parameter.device, copy=True)
        else:
            optimizer.state[parameter][slot] = torch.zeros_like(parameter, requires_grad=False)
            fill(optimizer.state[parameter][slot], value, key)
