"""Building a trunk that is too large for one worker: its parameters get memory after they are sharded.

A parameter is made without memory (on torch's *meta* device), and when every worker knows its share, the values are
drawn once more, one module at a time, and each worker keeps its own. They are those of a trunk that was built whole.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from distmtl.models.init import seeded


@contextmanager
def without_memory() -> Iterator[None]:
    """Inside the block, parameters of new modules have shapes and no memory; buffers are as ever."""
    register: Callable[..., None] = nn.Module.register_parameter

    def register_meta(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        register(module, name, parameter)
        if parameter is not None:
            module._parameters[name] = nn.Parameter(parameter.to("meta"), requires_grad=parameter.requires_grad)

    nn.Module.register_parameter = register_meta  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        nn.Module.register_parameter = register  # type: ignore[method-assign]


def can_be_deferred(module: nn.Module) -> bool:
    """Whether every part that holds parameters can draw their values anew (``reset_parameters``)."""
    return all(
        hasattr(part, "reset_parameters")
        for part in module.modules()
        if any(True for _ in part.parameters(recurse=False))
    )


class Deferred:
    """The parts of a trunk without memory, as they were before it is sharded.

    Args:
        trunk: Built inside :func:`without_memory`.
        seed: The run's seed.
        name: The trunk's name in the model.
    """

    def __init__(self, trunk: nn.Module, seed: int, name: str = "trunk") -> None:
        self._seed = seed
        self._parts: list[tuple[str, str, nn.Module]] = []
        for inner, part in trunk.named_modules():
            if any(parameter.is_meta for parameter in part.parameters(recurse=False)):
                alone = copy.copy(part)
                alone.__dict__["_parameters"] = dict(part._parameters)
                self._parts.append((inner, f"{name}.{inner}" if inner else name, alone))

    def fill(self, trunk: nn.Module, device: torch.device, put: Callable[[Tensor, Tensor, str], None]) -> None:
        """Give the sharded trunk memory on a device, and its first values.

        Args:
            trunk: The same trunk, sharded.
            device: Where it computes.
            put: ``put(target, whole, name)`` copies a worker's share of a whole tensor.
        """
        trunk._apply(lambda tensor: torch.empty_like(tensor, device=device) if tensor.is_meta else tensor)
        for inner, full_name, alone in self._parts:
            own: dict[str, Any] = alone._parameters
            for name, parameter in own.items():
                if parameter is not None:
                    own[name] = nn.Parameter(torch.empty(parameter.shape), requires_grad=parameter.requires_grad)
            with seeded(self._seed, full_name), torch.no_grad():
                alone.reset_parameters()  # type: ignore[operator]
                for name, target in trunk.get_submodule(inner).named_parameters(recurse=False):
                    put(target, own[name], f"{full_name}.{name}")
            own.clear()
