"""The loss of each row, and how rows without a label stay out of it.

A row without a label has a loss of exactly 0 and no gradient, whatever the network makes of its inputs. Replacing the
*result* would not do: 0 times the derivative of a NaN is NaN. So the network's output is replaced before the loss.
"""

import inspect
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F  # noqa: N812  the name that everybody knows
from torch import Tensor

from distmtl.errors import ConfigError
from distmtl.features import LabelInfo
from distmtl.spec import CustomSpec, load_target
from distmtl.tasks.specs import BceSpec, CrossEntropySpec, HuberSpec, Imbalance, LossSpec, MaeSpec, MseSpec

LabelledLoss = Callable[[Tensor, Tensor], Tensor]
"""Loss of each row ``[N]`` from outputs ``[N, C]`` and encoded targets ``[N]`` of rows that all have a label."""


RowLoss = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""Loss of each row ``[N]`` from outputs ``[N, C]``, encoded targets ``[N]`` and ``valid [N]``.

It is 0, and without a gradient, where there is no label; with None for ``valid``, every row has one."""


def build_loss(spec: LossSpec, label: LabelInfo) -> RowLoss:
    """The loss that a run file asks for.

    Args:
        spec: The loss; one that fits the task's kind.
        label: The target's class counts, for ``imbalance: balanced``.

    Raises:
        ConfigError: A custom loss cannot be imported or called, or balancing lacks class counts.
    """
    match spec:
        case BceSpec():
            return partial(masked, _weighed(binary_cross_entropy, spec.imbalance, label))
        case CrossEntropySpec():
            loss = partial(cross_entropy, smoothing=spec.label_smoothing)
            return partial(masked, _weighed(loss, spec.imbalance, label))
        case MseSpec():
            return partial(masked, squared_error)
        case MaeSpec():
            return partial(masked, absolute_error)
        case HuberSpec():
            return partial(masked, partial(huber, delta=spec.delta))
        case CustomSpec():
            return partial(selected, custom_loss(spec), where=spec.target)


def masked(loss: LabelledLoss, output: Tensor, target: Tensor, valid: Tensor | None) -> Tensor:
    """A loss over all rows, outputs of those without a label replaced; no data-dependent shapes."""
    if valid is None:
        return loss(output, target)
    zero = output.new_zeros(())
    return torch.where(valid, loss(torch.where(valid[:, None], output, zero), target), zero)


def selected(loss: LabelledLoss, output: Tensor, target: Tensor, valid: Tensor | None, *, where: str) -> Tensor:
    """A loss that sees the labelled rows alone, for code that we do not know.

    Raises:
        ConfigError: It does not return one number per row.
    """
    if valid is None:
        valid = torch.ones_like(target, dtype=torch.bool)
    # zeros that hang on the output, so that a backward pass works where no row has a label
    losses = torch.where(valid, output.sum(dim=1), output.new_zeros(())).masked_fill(valid, 0.0)
    if not bool(valid.any()):
        return losses
    found = loss(output[valid], target[valid])
    if found.shape != (int(valid.sum()),):
        raise ConfigError(
            f"loss '{where}' returned shape {tuple(found.shape)} for {int(valid.sum())} rows.",
            remedy="Return one loss per row [N], without a mean or a sum over rows.",
        )
    return losses.masked_scatter(valid, found.to(losses.dtype))


def binary_cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    """``-log p(target)``, p from one logit per row."""
    return F.binary_cross_entropy_with_logits(output[:, 0], target.to(output.dtype), reduction="none")


def cross_entropy(output: Tensor, target: Tensor, smoothing: float = 0.0) -> Tensor:
    """``-log softmax(output)[target]``; smoothing e makes that ``(1 - e) one-hot + e / C`` (Szegedy et al. 2016)."""
    return F.cross_entropy(output, target, reduction="none", label_smoothing=smoothing)


def squared_error(output: Tensor, target: Tensor) -> Tensor:
    """``(output - target)^2``."""
    return (output[:, 0] - target).square()


def absolute_error(output: Tensor, target: Tensor) -> Tensor:
    """``|output - target|``."""
    return (output[:, 0] - target).abs()


def huber(output: Tensor, target: Tensor, delta: float) -> Tensor:
    """Quadratic up to ``delta``, linear beyond (Huber 1964)."""
    return F.huber_loss(output[:, 0], target, reduction="none", delta=delta)


def weighed(class_weights: tuple[float, ...], loss: LabelledLoss, output: Tensor, target: Tensor) -> Tensor:
    """A loss times the weight of the row's class."""
    return loss(output, target) * output.new_tensor(class_weights)[target]


def balanced_weights(class_counts: tuple[int, ...]) -> tuple[float, ...]:
    """Weights under which every class has the same total weight and the mean row of the train split has weight 1.

    A class without a row in the train split gets weight 1.
    """
    present = sum(count > 0 for count in class_counts)
    rows = sum(class_counts)
    return tuple(rows / (present * count) if count else 1.0 for count in class_counts)


def custom_loss(spec: CustomSpec) -> LabelledLoss:
    """The user's function, or an instance of the user's class, as a function of (output, target).

    Raises:
        ConfigError: It cannot be imported, or does not take these arguments.
    """
    target = load_target(spec.target)
    loss, arguments = (spec.build(), {}) if inspect.isclass(target) else (target, spec.args)
    try:
        inspect.signature(loss).bind(None, None, **arguments)
    except TypeError as error:
        raise ConfigError(
            f"loss '{spec.target}' cannot be called with (output, target): {error}.",
            remedy="Compare 'args' with its signature.",
        ) from error
    return partial(loss, **arguments)


def _weighed(loss: LabelledLoss, imbalance: Imbalance, label: LabelInfo) -> LabelledLoss:
    if imbalance == "none":
        return loss
    if label.class_counts is None:
        raise ConfigError(
            f"'imbalance: {imbalance}' needs class counts, and column '{label.column}' has none.",
            remedy="Use it for a target with classes, or 'imbalance: none'.",
        )
    return partial(weighed, balanced_weights(label.class_counts), loss)
