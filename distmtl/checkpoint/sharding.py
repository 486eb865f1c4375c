"""Tensors as bytes, and the part of one that a rank holds."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from distmtl.checkpoint.layout import DTYPES, Box, TensorSpec, whole
from distmtl.errors import CheckpointError


@dataclass(frozen=True)
class LocalPart:
    """What a rank holds of a sharded tensor.

    Attributes:
        box: Where it is in the whole.
        tensor: Its elements.
        writes: Whether this rank writes it: of several that hold the same part, the first one does.
    """

    box: Box
    tensor: Tensor
    writes: bool


@dataclass(frozen=True)
class Columns:
    """A rank's columns of a matrix whose columns are spread over the ranks.

    Attributes:
        tensor: They ``[R, n]``.
        start: The first one's number.
        width: Columns of the whole.
        writes: Whether this rank writes them: of several that hold the same ones, one does.
    """

    tensor: Tensor
    start: int
    width: int
    writes: bool = True


def spec_of(name: str, tensor: Tensor | Columns) -> TensorSpec:
    """Dtype and global shape.

    Raises:
        CheckpointError: The tensor is of a kind that has no plain bytes.
    """
    if isinstance(tensor, Columns):
        return TensorSpec(str(tensor.tensor.dtype).removeprefix("torch."), (tensor.tensor.shape[0], tensor.width))
    dtype = str(tensor.dtype).removeprefix("torch.")
    if dtype not in DTYPES or tensor.layout != torch.strided:
        raise CheckpointError(f"'{name}' is a {tensor.layout} tensor of {tensor.dtype}, which cannot be stored.")
    return TensorSpec(dtype, tuple(tensor.shape))


def is_sharded(tensor: Tensor | Columns) -> bool:
    """Whether the ranks hold parts of it: DTensors and columns know which."""
    return isinstance(tensor, Columns) or hasattr(tensor, "__create_chunk_list__")


def local_part(name: str, tensor: Any) -> LocalPart:
    """The part of a sharded tensor that this rank holds.

    Raises:
        CheckpointError: Its parts are sums yet to be reduced, or this rank holds more than one.
    """
    if isinstance(tensor, Columns):
        box = Box((0, tensor.start), tuple(tensor.tensor.shape))
        return LocalPart(box, tensor.tensor, writes=tensor.writes and tensor.tensor.numel() > 0)
    if any(placement.is_partial() for placement in tensor.placements):
        raise CheckpointError(f"'{name}' is not reduced yet and cannot be stored.")
    chunks = tensor.__create_chunk_list__()
    local: Tensor = tensor.to_local()
    if not chunks or local.numel() == 0:
        return LocalPart(whole(local.shape), local, writes=False)
    if len(chunks) > 1:
        raise CheckpointError(f"'{name}' has {len(chunks)} parts on one rank, which cannot be stored.")
    place = tensor.device_mesh.get_coordinate() or []
    first = all(
        position == 0 for position, placement in zip(place, tensor.placements, strict=True) if placement.is_replicate()
    )
    return LocalPart(Box(tuple(chunks[0].offsets), tuple(chunks[0].sizes)), local, writes=first)


def fill(target: Tensor, whole_tensor: Tensor, name: str) -> None:
    """Copy what this rank holds of a tensor out of the whole of it, in place and in the target's type."""
    if not is_sharded(target):
        target.copy_(whole_tensor)
        return
    part = local_part(name, target)
    if part.tensor.numel():
        part.tensor.copy_(whole_tensor[part.box.slices()])


def to_bytes(tensor: Tensor) -> memoryview:
    """The elements in row-major order, little-endian; without a copy where they lie so in the CPU's memory."""
    plain = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous()
    return plain.reshape(-1).view(torch.uint8).numpy().data


def view_bytes(tensor: Tensor) -> memoryview:
    """A writable view of a contiguous CPU tensor's bytes."""
    return tensor.view(-1).view(torch.uint8).numpy().data
