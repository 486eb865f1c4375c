"""Sharding the trunk over the workers with FSDP2 (``fully_shard``), and its task gradients."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule, MixedPrecisionPolicy, OffloadPolicy, fully_shard
from torch.distributed.tensor import DTensor

from distmtl.errors import ConfigError
from distmtl.parallel.gradient_matrix import Span
from distmtl.parallel.specs import ParallelSpec
from distmtl.parallel.world import World

SHARD, REPLICATE = "shard", "replicate"
"""Names of the mesh's dimensions."""


def build_mesh(spec: ParallelSpec, world: World) -> DeviceMesh:
    """The workers as a line (FSDP), or as copies of a line (HSDP).

    Raises:
        ConfigError: The workers cannot be cut into groups of ``shard_size``.
    """
    kind = world.device.type
    if spec.strategy == "fsdp":
        return init_device_mesh(kind, (world.size,), mesh_dim_names=(SHARD,))
    size = spec.shard_size or min(world.size, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    if world.size % size:
        raise ConfigError(
            f"{world.size} workers cannot be cut into groups of {size}.",
            "parallel.shard_size",
            f"Use a divisor of {world.size}.",
        )
    return init_device_mesh(kind, (world.size // size, size), mesh_dim_names=(REPLICATE, SHARD))


def shard_trunk(trunk: nn.Module, blocks: Sequence[nn.Module], spec: ParallelSpec, mesh: DeviceMesh, half: Any) -> None:
    """Give each worker its share of every block of the trunk, and of the rest of it, in place.

    Gradients are averaged over the workers, as under DDP.

    Args:
        trunk: The module; it is called as a whole.
        blocks: Parts of it that are gathered one after the other.
        spec: What to do with memory.
        mesh: From :func:`build_mesh`.
        half: The type that parameters are gathered in (``torch.bfloat16``), or None for their own.
    """
    policy = MixedPrecisionPolicy(param_dtype=half, reduce_dtype=torch.float32 if half else None)
    offload: OffloadPolicy = (
        CPUOffloadPolicy(pin_memory=mesh.device_type == "cuda") if spec.cpu_offload else OffloadPolicy()
    )
    for module in (*blocks, trunk):
        fully_shard(
            module,
            mesh=mesh,
            reshard_after_forward=spec.reshard_after_forward,
            mp_policy=policy,
            offload_policy=offload,
        )


def local(tensor: Tensor) -> Tensor:
    """What this worker holds of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def copies_of(mesh: DeviceMesh) -> int:
    """How many workers hold the same share."""
    return mesh.size() // mesh.size(mesh.ndim - 1)


def is_sharded(trunk: nn.Module) -> bool:
    """Whether workers hold shares of it, so that each of its passes is a collective."""
    return any(isinstance(module, FSDPModule) for module in trunk.modules())


def settle(trunk: nn.Module) -> None:
    """Give up parameters that a forward pass gathered and no backward pass will free."""
    for module in trunk.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


class ShardMatrix:
    """J where FSDP gives every worker its share of each parameter's gradient; see ``GradientMatrix``.

    Args:
        parameters: The trunk's, by name.
        tasks: T.
        mesh: The workers.
    """

    def __init__(self, parameters: Sequence[tuple[str, nn.Parameter]], tasks: int, mesh: DeviceMesh) -> None:
        self._parameters = [cast(DTensor, parameter) for _, parameter in parameters]
        self.copies = copies_of(mesh)
        self.writes = all(place == 0 for place in (mesh.get_coordinate() or ())[:-1])
        self.widths: Mapping[str, int] = {name: parameter.numel() for name, parameter in parameters}
        self._sizes = [local(parameter).numel() for parameter in self._parameters]
        like = local(self._parameters[0])
        self.shard = torch.zeros(tasks, sum(self._sizes), dtype=like.dtype, device=like.device)
        self.spans = shard_spans(parameters)

    def clear(self) -> None:
        """Set every row to 0."""
        self.shard.zero_()

    def take(self, row: int) -> None:
        """See ``GradientMatrix``: the backward pass has added the gradients up already."""
        at = 0
        for parameter, size in zip(self._parameters, self._sizes, strict=True):
            if parameter.grad is not None and size:
                self.shard[row, at : at + size] += local(parameter.grad).reshape(-1)
            parameter.grad = None
            at += size

    def finish(self) -> None:
        """See ``GradientMatrix``: nothing is ever under way."""

    def install(self, update: Tensor) -> None:
        """See ``GradientMatrix``."""
        at = 0
        for parameter, size in zip(self._parameters, self._sizes, strict=True):
            piece = update[at : at + size].view(local(parameter).shape)
            parameter.grad = DTensor.from_local(
                piece, parameter.device_mesh, parameter.placements, run_check=False,
                shape=parameter.shape, stride=parameter.stride(),
            )  # fmt: skip
            at += size


def shard_spans(parameters: Sequence[tuple[str, nn.Parameter]]) -> tuple[Span, ...]:
    """What this worker holds of each sharded parameter."""
    return tuple(
        Span(name, _first_element(cast(DTensor, parameter)), local(parameter).numel()) for name, parameter in parameters
    )


def _first_element(parameter: DTensor) -> int:
    """Number of the first of this worker's elements, in row-major order of the whole; FSDP cuts along rows."""
    chunks = parameter.__create_chunk_list__()
    if not chunks or not parameter.dim():
        return 0
    rest: int = parameter.numel() // max(1, parameter.shape[0])
    return int(chunks[0].offsets[0]) * rest
