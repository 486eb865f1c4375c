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


def spec_of(name: str, tensor: Tensor) -> TensorSpec:
    """Dtype and global shape.

    Raises:
        CheckpointError: The tensor is of a kind that has no plain bytes.
    """
    dtype = str(tensor.dtype).removeprefix("torch.")
    if dtype not in DTYPES or tensor.layout != torch.strided:
        raise CheckpointError(f"'{name}' is a {tensor.layout} tensor of {tensor.dtype}, which cannot be stored.")
    return TensorSpec(dtype, tuple(tensor.shape))


def is_sharded(tensor: Tensor) -> bool:
    """Whether this is a DTensor: only those know their part of the whole."""
    return hasattr(tensor, "__create_chunk_list__")


def local_part(name: str, tensor: Any) -> LocalPart:
    """The part of a DTensor that this rank holds.

    Raises:
        CheckpointError: Its parts are sums yet to be reduced, or this rank holds more than one.
    """
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


def to_bytes(tensor: Tensor) -> memoryview:
    """The elements in row-major order, little-endian; without a copy where they lie so in the CPU's memory."""
    plain = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous()
    return plain.reshape(-1).view(torch.uint8).numpy().data


def view_bytes(tensor: Tensor) -> memoryview:
    """A writable view of a contiguous CPU tensor's bytes."""
    return tensor.view(-1).view(torch.uint8).numpy().data
