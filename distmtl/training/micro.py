"""Cutting a worker's share of a step into micro-batches."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from distmtl.data.batch import SourceBatch

Micro = tuple[SourceBatch, ...]
"""One forward pass: a slice of each source's rows; some may be empty, not all."""


def cut(parts: Sequence[SourceBatch], micro_rows: int | None) -> list[Micro]:
    """The parts in slices of at most ``micro_rows`` rows each, over all sources together.

    A worker without rows gets one micro-batch of one row that weighs nothing: it lets the worker take part in the
    collectives of the backward pass.
    """
    total = sum(part.rows for part in parts)
    if total == 0:
        return [(blank_row(parts[0]), *parts[1:])]
    if micro_rows is None or total <= micro_rows:
        return [tuple(parts)]
    return [_between(parts, start, start + micro_rows) for start in range(0, total, micro_rows)]


def blank_row(part: SourceBatch) -> SourceBatch:
    """One row of zeros with weight 0, shaped like this source's rows."""

    def zero(value: Tensor) -> Tensor:
        return value.new_zeros((1, *value.shape[1:]))

    return replace(
        part,
        inputs={name: zero(value) for name, value in part.inputs.items()},
        targets={name: zero(value) for name, value in part.targets.items()},
        weights=torch.zeros(1, device=part.positions.device),
        positions=zero(part.positions),
    )


def to_device(part: SourceBatch, device: torch.device) -> SourceBatch:
    """The part on a device; copies from pinned memory do not block."""
    if device.type == "cpu":
        return part

    def move(value: Tensor) -> Tensor:
        return value.to(device, non_blocking=True)

    return replace(
        part,
        inputs={name: move(value) for name, value in part.inputs.items()},
        targets={name: move(value) for name, value in part.targets.items()},
        weights=None if part.weights is None else move(part.weights),
        positions=move(part.positions),
    )


def _between(parts: Sequence[SourceBatch], start: int, stop: int) -> Micro:
    pieces = []
    for part in parts:
        pieces.append(_rows(part, max(0, min(start, part.rows)), max(0, min(stop, part.rows))))
        start, stop = start - part.rows, stop - part.rows
    return tuple(pieces)


def _rows(part: SourceBatch, start: int, stop: int) -> SourceBatch:
    return replace(
        part,
        inputs={name: value[start:stop] for name, value in part.inputs.items()},
        targets={name: value[start:stop] for name, value in part.targets.items()},
        weights=None if part.weights is None else part.weights[start:stop],
        positions=part.positions[start:stop],
    )
