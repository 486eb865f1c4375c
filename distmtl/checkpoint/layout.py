"""Which rank writes which bytes of which tensor where. Pure: no store, no collectives.

A box is a rectangular part of a tensor. A replicated tensor is cut along its first dimension where it is large, and its
pieces are dealt to the ranks by size; a sharded tensor's boxes belong to the ranks that hold them.
"""

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch

ALIGN_BYTES = 64
"""Pieces begin at multiples of this within a file, so that a reader can view them in place."""

SPLIT_BYTES = 2**20
"""Pieces of replicated tensors are not cut smaller than this."""

_DTYPES = (
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2,
    torch.complex128, torch.complex64, torch.int64, torch.int32, torch.int16, torch.int8,
    torch.uint64, torch.uint32, torch.uint16, torch.uint8, torch.bool,
)  # fmt: skip
DTYPES: Mapping[str, torch.dtype] = {str(dtype).removeprefix("torch."): dtype for dtype in _DTYPES}
"""What can be stored, by the name that the manifest uses."""


@dataclass(frozen=True)
class TensorSpec:
    """A tensor as a whole: a name from ``DTYPES`` and the global shape."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def item_bytes(self) -> int:
        """Bytes of one element."""
        return DTYPES[self.dtype].itemsize

    @property
    def total_bytes(self) -> int:
        """Bytes of all elements."""
        return math.prod(self.shape) * self.item_bytes


@dataclass(frozen=True, order=True)
class Box:
    """A rectangular part of a tensor: where it begins and how far it goes in every dimension."""

    offsets: tuple[int, ...]
    lengths: tuple[int, ...]

    @property
    def items(self) -> int:
        """Elements in it."""
        return math.prod(self.lengths)

    def slices(self) -> tuple[slice, ...]:
        """Indices that cut it out of the whole tensor."""
        return tuple(slice(start, start + count) for start, count in zip(self.offsets, self.lengths, strict=True))


@dataclass(frozen=True)
class Piece:
    """A box of a tensor that one rank writes."""

    name: str
    box: Box
    size_bytes: int


@dataclass(frozen=True)
class Placed:
    """A piece and the byte of its file at which it begins."""

    piece: Piece
    start: int


def whole(shape: Sequence[int]) -> Box:
    """All of a tensor."""
    return Box((0,) * len(shape), tuple(shape))


def deal(specs: Mapping[str, TensorSpec], world_size: int, split_bytes: int = SPLIT_BYTES) -> list[list[Piece]]:
    """Deal replicated tensors to ranks, about the same number of bytes to each.

    Every rank computes the same answer. Pieces are at most a quarter of a rank's fair share where ``split_bytes``
    and the rows of the tensor allow it, and the largest are dealt first, each to the rank with the least so far.

    Returns:
        The pieces of each rank, in the order in which it writes them. Tensors without elements have none.
    """
    total = sum(spec.total_bytes for spec in specs.values())
    limit = max(split_bytes, math.ceil(total / world_size / 4)) if world_size > 1 else total
    pieces = [piece for name, spec in specs.items() for piece in _cut(name, spec, limit)]
    pieces.sort(key=lambda piece: (-piece.size_bytes, piece.name, piece.box))
    shares: list[list[Piece]] = [[] for _ in range(world_size)]
    loads = [(0, rank) for rank in range(world_size)]
    for piece in pieces:
        load, rank = loads[0]
        shares[rank].append(piece)
        heapq.heapreplace(loads, (load + piece.size_bytes, rank))
    return shares


def place(pieces: Sequence[Piece]) -> list[Placed]:
    """Lay pieces one after the other into a file."""
    placed = []
    end = 0
    for piece in pieces:
        start = -(-end // ALIGN_BYTES) * ALIGN_BYTES
        placed.append(Placed(piece, start))
        end = start + piece.size_bytes
    return placed


def covers(shape: Sequence[int], boxes: Sequence[Box]) -> bool:
    """Whether boxes fill a tensor of this shape exactly: none outside, none overlapping, nothing left out."""
    items = math.prod(shape)
    boxes = sorted(box for box in boxes if box.items)
    return (
        all(_inside(box, shape) for box in boxes)
        and sum(box.items for box in boxes) == items
        and not _any_overlap(boxes)
    )


def _inside(box: Box, shape: Sequence[int]) -> bool:
    return len(box.offsets) == len(box.lengths) == len(shape) and all(
        start >= 0 and count >= 0 and start + count <= size
        for start, count, size in zip(box.offsets, box.lengths, shape, strict=True)
    )


def _any_overlap(boxes: Sequence[Box]) -> bool:
    """Whether two boxes share an element; ``boxes`` are sorted."""
    if all(_before(first, second) for first, second in pairwise(boxes)):
        return False  # Cut along the first dimension only, as almost all are.
    return any(_overlap(first, second) for number, first in enumerate(boxes) for second in boxes[number + 1 :])


def _before(first: Box, second: Box) -> bool:
    return bool(first.offsets) and first.offsets[0] + first.lengths[0] <= second.offsets[0]


def _overlap(first: Box, second: Box) -> bool:
    return all(
        a < b + lb and b < a + la
        for a, la, b, lb in zip(first.offsets, first.lengths, second.offsets, second.lengths, strict=True)
    )


def _cut(name: str, spec: TensorSpec, limit: int) -> list[Piece]:
    """Cut a tensor along its first dimension into pieces of at most ``limit`` bytes, or of one row."""
    if spec.total_bytes == 0:
        return []
    if spec.total_bytes <= limit or not spec.shape:
        return [Piece(name, whole(spec.shape), spec.total_bytes)]
    rows = spec.shape[0]
    row_bytes = spec.total_bytes // rows
    step = max(1, limit // row_bytes)
    boxes = (
        Box((start, *(0 for _ in spec.shape[1:])), (min(step, rows - start), *spec.shape[1:]))
        for start in range(0, rows, step)
    )
    return [Piece(name, box, box.lengths[0] * row_bytes) for box in boxes]
