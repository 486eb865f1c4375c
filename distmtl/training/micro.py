"""Cutting a worker's share of a step into micro-batches."""

from collections.abc import Sequence

import torch
from torch import Tensor

from distmtl.data.batch import SourceBatch

Micro = tuple[SourceBatch, ...]
"""One forward pass: a slice of each source's rows; some may be empty, not all."""


def cut(parts: Sequence[SourceBatch], micro_rows: int | None, at_least: int = 1) -> list[Micro]:
    """The parts in slices of at most ``micro_rows`` rows each, over all sources together.

    A worker short of rows gets micro-batches of one row that weighs nothing: they let it take part in the collectives
    of the backward pass.

    Args:
        parts: The worker's rows.
        micro_rows: Most rows of a slice; None: all of them.
        at_least: Number of micro-batches that every worker has, where the number matters to the others.
    """
    total = sum(part.rows for part in parts)
    width = micro_rows or max(1, total)
    micros = [tuple(parts)] if 0 < total <= width else [
        _between(parts, start, start + width) for start in range(0, total, width)
    ]  # fmt: skip
    blank = [(blank_row(parts[0]), *(_rows(part, 0, 0) for part in parts[1:]))]
    return micros + blank * (at_least - len(micros))


def most_micros(rows: int, workers: int, micro_rows: int | None, quota: int | None = None) -> int:
    """Micro-batches of the worker with the largest share of a step; the same on every worker.

    Args:
        rows: Rows of the step, over all workers and sources.
        workers: How many share them.
        micro_rows: Most rows of a micro-batch.
        quota: Rows of the one source that is looked at; None: all sources together.
    """
    most = -(-rows // workers)
    if quota is not None:
        most = min(most, quota)
    return max(1, -(-most // micro_rows)) if micro_rows else 1


def blank_row(part: SourceBatch) -> SourceBatch:
    """One row of zeros with weight 0, shaped like this source's rows."""

    def zero(value: Tensor) -> Tensor:
        return value.new_zeros((1, *value.shape[1:]))

    return part._replace(
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

    return part._replace(
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
    return part._replace(
        inputs={name: value[start:stop] for name, value in part.inputs.items()},
        targets={name: value[start:stop] for name, value in part.targets.items()},
        weights=None if part.weights is None else part.weights[start:stop],
        positions=part.positions[start:stop],
    )
