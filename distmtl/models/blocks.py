"""The blocks of a trunk: parts that memory is managed by, one after the other."""

from collections.abc import Callable
from contextvars import copy_context
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from distmtl.errors import ConfigError


def trunk_blocks(trunk: nn.Module) -> tuple[nn.Module, ...]:
    """A trunk's ``blocks``: modules that run one after the other and share no parameter; () if it names none.

    Raises:
        ConfigError: ``blocks`` holds something that is no part of the trunk.
    """
    blocks = tuple(getattr(trunk, "blocks", ()))
    parts = {id(module) for module in trunk.modules()}
    for block in blocks:
        if id(block) not in parts or block is trunk:
            raise ConfigError(
                f"{type(trunk).__name__}.blocks holds {type(block).__name__}, which is no module inside the trunk.",
                "model.trunk",
                "Let 'blocks' list submodules of the trunk.",
            )
    return blocks


def checkpoint_activations(block: nn.Module) -> None:
    """Let a block keep its inputs alone and compute the rest again in the backward pass, in place (Chen et al. 2016).

    The second pass sees the context variables of the first, so that keyed dropout draws the same masks.
    """
    forward: Callable[..., Any] = block.forward

    def again(*args: Any, **kwargs: Any) -> Any:
        context = copy_context()
        return checkpoint(
            lambda *inner: context.run(forward, *inner, **kwargs), *args, use_reentrant=False, preserve_rng_state=True
        )

    block.forward = again
