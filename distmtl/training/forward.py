"""One forward pass over the rows of several sources, down to a loss sum per task."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from distmtl.data.batch import SourceBatch
from distmtl.models.base import Features, Inputs, MultiTaskModel
from distmtl.models.dropout import row_keys, row_subset
from distmtl.training.facts import TaskPlace
from distmtl.training.micro import Micro

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
"""Compute types of the precisions that are not their parameters' own."""

Present = npt.NDArray[np.bool_]
Vector = npt.NDArray[np.float64]

_NO_ROWS = slice(0, 0)


class SharedPass(nn.Module):
    """The trunk and the heads that every step uses, as the one module that DDP wraps.

    Heads outside it get their features from its output, so one backward pass reaches everything.
    """

    def __init__(self, model: MultiTaskModel, riding: Sequence[str]) -> None:
        super().__init__()
        self.trunk = model.trunk
        self.heads = nn.ModuleDict({name: model.private[name] for name in riding})

    def forward(self, inputs: Inputs, rows: Mapping[str, slice | None]) -> tuple[dict[str, Tensor], Features]:
        """Outputs of the riding heads on their rows, and the trunk's features of all rows."""
        features = self.trunk(inputs)
        return {name: run_head(head, features, rows[name]) for name, head in self.heads.items()}, features


@dataclass(frozen=True)
class LossPass:
    """Computes every task's loss sum over a micro-batch.

    ``shared`` is a :class:`SharedPass`, wrapped for gradient reduction or not. ``pads`` says what fills up the rows of
    each sequence group.
    """

    model: MultiTaskModel
    shared: nn.Module
    places: tuple[TaskPlace, ...]
    seed: int
    precision: str
    pads: Mapping[str, float] = field(default_factory=dict)

    def __call__(self, micro: Micro, step: int, present: Present, scales: Vector | None = None) -> Tensor:
        """Sum of row weight x loss over each task's valid labels in these rows [T], float32 or float64.

        Riding heads run on every worker, without rows too, since DDP waits for their gradients.

        Args:
            micro: The rows.
            step: The step.
            present: Whether each task has a valid label anywhere in the step [T].
            scales: What each task's gradient is multiplied with on its way from head to trunk [T]; for tasks whose
                heads do not ride. The head's own gradient stays as it is.
        """
        rows = row_slices(micro)
        with row_keys(self.seed, step, positions(micro)), self._autocast(micro):
            riding = {place.task.name: rows.get(place.source, _NO_ROWS) for place in self.places}
            outputs, features = self.shared(concatenate(micro, self.pads), riding)
            self._run_heads(outputs, features, rows, present, scales)
        # rows without any label still lead through the trunk, since DDP waits for its gradients
        zero = _wide((features if isinstance(features, Tensor) else features[0])[_NO_ROWS]).sum()
        return torch.stack([zero if value is None else value for value in self._sums(outputs, micro)])

    def apart(self, micro: Micro, step: int, present: Present) -> tuple[list[Tensor | None], Features]:
        """Like calling it, but each task's sum stands alone (None where it has no rows), and the features come too.

        Heads do not ride here. The trunk's inputs and outputs are those of one graph, so that a task's sum can be
        differentiated without touching the other heads.
        """
        rows = row_slices(micro)
        with row_keys(self.seed, step, positions(micro)), self._autocast(micro):
            _, features = self.shared(concatenate(micro, self.pads), {})
            outputs: dict[str, Tensor] = {}
            self._run_heads(outputs, features, rows, present, None)
        return self._sums(outputs, micro), features

    def from_features(self, micro: Micro, features: Features, step: int, present: Present) -> list[Tensor | None]:
        """Each task's sum from the trunk's output on these rows."""
        outputs: dict[str, Tensor] = {}
        with row_keys(self.seed, step, positions(micro)), self._autocast(micro):
            self._run_heads(outputs, features, row_slices(micro), present, None)
        return self._sums(outputs, micro)

    def features(self, micro: Micro, step: int) -> Features:
        """The trunk's output on these rows, without a graph."""
        with torch.no_grad(), row_keys(self.seed, step, positions(micro)), self._autocast(micro):
            found: Features = self.shared(concatenate(micro, self.pads), {})[1]
        return found

    def _run_heads(
        self,
        outputs: dict[str, Tensor],
        features: Features,
        rows: Mapping[str, slice | None],
        present: Present,
        scales: Vector | None,
    ) -> None:
        for number, (place, here) in enumerate(zip(self.places, present, strict=True)):
            if here and place.task.name not in outputs and place.source in rows:
                head = self.model.private[place.task.name]
                given = features if scales is None else _scaled(features, float(scales[number]))
                outputs[place.task.name] = run_head(head, given, rows[place.source])

    def _sums(self, outputs: Mapping[str, Tensor], micro: Micro) -> list[Tensor | None]:
        parts = {part.source: part for part in micro}
        return [self._sum(place, outputs.get(place.task.name), parts.get(place.source)) for place in self.places]

    def _sum(self, place: TaskPlace, output: Tensor | None, part: SourceBatch | None) -> Tensor | None:
        if output is None:
            return None
        if part is None:
            return _wide(output).sum()  # a riding head without rows: zero, with a graph
        losses = place.task.losses(_wide(output), part.targets[place.column], complete=place.complete)
        return losses.sum() if part.weights is None else (losses * part.weights).sum()

    def _autocast(self, micro: Micro) -> AbstractContextManager[Any]:
        dtype = AUTOCAST.get(self.precision)
        return nullcontext() if dtype is None else torch.autocast(micro[0].positions.device.type, dtype)


class _Scale(torch.autograd.Function):
    """The identity, whose gradient is multiplied with a number."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0] * ctx.factor, None


def _scale(value: Tensor, factor: float) -> Tensor:
    return cast(Tensor, _Scale.apply(value, factor))  # type: ignore[no-untyped-call]


def _scaled(features: Features, factor: float) -> Features:
    if isinstance(features, Tensor):
        return _scale(features, factor)
    return tuple(_scale(part, factor) for part in features)


def _wide(value: Tensor) -> Tensor:
    """The value in float32, or float64 if it is."""
    return value if value.dtype == torch.float64 else value.float()


def run_head(head: nn.Module, features: Features, rows: slice | None) -> Tensor:
    """A head's output on some rows of the features ``[n, outputs]``; None takes all."""
    if rows is not None:
        features = features[rows] if isinstance(features, Tensor) else tuple(part[rows] for part in features)
    with row_subset(rows):
        output: Tensor = head(features)
    return output


def concatenate(micro: Micro, pads: Mapping[str, float]) -> Inputs:
    """Inputs of several sources with the same input groups, rows one after the other.

    Sequences ``[N, T]``, whose groups ``pads`` names, are filled up to the longest T of all sources.
    """
    if len(micro) == 1:
        return dict(micro[0].inputs)
    return {name: _joined([part.inputs[name] for part in micro], pads.get(name)) for name in micro[0].inputs}


def _joined(values: Sequence[Tensor], pad: float | None) -> Tensor:
    if pad is None:
        return torch.cat(list(values))
    longest = max(value.shape[1] for value in values)
    return torch.cat([nn.functional.pad(value, (0, longest - value.shape[1]), value=pad) for value in values])


def positions(micro: Micro) -> Tensor:
    """The rows' places in the global step [N], in the order of :func:`concatenate`."""
    return micro[0].positions if len(micro) == 1 else torch.cat([part.positions for part in micro])


def row_slices(micro: Micro) -> dict[str, slice | None]:
    """Where each source's rows are in :func:`concatenate`'s output."""
    if len(micro) == 1:
        return {micro[0].source: None}
    slices: dict[str, slice | None] = {}
    start = 0
    for part in micro:
        slices[part.source] = slice(start, start + part.rows)
        start += part.rows
    return slices
