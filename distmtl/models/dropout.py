"""Dropout whose mask belongs to the row and not to the worker that computes it.

PyTorch's dropout draws from a generator of the process, so its masks change with the number of workers, the cut into
micro-batches and every restart. Here whether a feature is kept is a hash of (seed, step, row, module, feature): the
same wherever, and beside whatever other rows, the row is computed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from distmtl.errors import DistmtlError
from distmtl.keyed import hashes, key_of

# Odd constants of a well-known integer mixer (lowbias32), as signed numbers: integer tensors wrap around.
_MIX_C = 0x7FEB352D
_MIX_D = 0x846CA68B - 2**32


@dataclass(frozen=True)
class _Rows:
    positions: Tensor
    key: int

    @cached_property
    def hashes(self) -> Tensor:
        return hashes(self.positions, self.key)


_ROWS: ContextVar[_Rows | None] = ContextVar("rows", default=None)


@contextmanager
def row_keys(seed: int, step: int, positions: Tensor) -> Iterator[None]:
    """Say which rows the modules inside the block see, so that :class:`KeyedDropout` can draw their masks.

    Args:
        seed: The run's seed.
        step: The step.
        positions: Place of each row in the step's global row list ``[N]`` int64, in the order of the tensors' rows.
    """
    with _in_context(_Rows(positions, key_of(seed, step))):
        yield


@contextmanager
def row_subset(rows: slice | None) -> Iterator[None]:
    """Say that the modules inside the block see only these of the rows around it; None: all of them.

    Outside :func:`row_keys` it does nothing.
    """
    around = _ROWS.get()
    subset = around if around is None or rows is None else _Rows(around.positions[rows], around.key)
    with _in_context(subset):
        yield


@contextmanager
def _in_context(rows: _Rows | None) -> Iterator[None]:
    token = _ROWS.set(rows)
    try:
        yield
    finally:
        _ROWS.reset(token)


class KeyedDropout(nn.Module):
    """Dropout (Srivastava et al. 2014) keyed by seed, step, row, module and feature; needs :func:`row_keys`.

    Maps ``[N, ...]`` to ``[N, ...]``: in training each feature is zero with probability p, and the others are scaled by
    ``1 / (1 - p)``; in evaluation it is the identity.

    Args:
        p: Probability that a feature is dropped, in [0, 1), to a resolution of 2**-32.
        name: Tells modules of one model apart. ``build_model`` names each by its place in the model.
    """

    def __init__(self, p: float, name: str = "") -> None:
        super().__init__()
        self.p = p
        self.name = name

    def forward(self, features: Tensor) -> Tensor:
        """The features, thinned out in training.

        Raises:
            DistmtlError: In training outside :func:`row_keys`, or with keys for another number of rows.
        """
        if not self.training or self.p == 0.0:
            return features
        kept = self._kept(features.shape, features.device)
        return features * kept.to(features.dtype).mul_(1.0 / (1.0 - self.p))

    def extra_repr(self) -> str:
        """What ``print(model)`` shows of it."""
        return f"p={self.p}, name={self.name!r}"

    def _kept(self, shape: torch.Size, device: torch.device) -> Tensor:
        rows = _ROWS.get()
        if rows is None or rows.positions.shape[0] != shape[0]:
            known = "none" if rows is None else f"{rows.positions.shape[0]} rows"
            raise DistmtlError(
                f"dropout sees {shape[0]} rows and was given keys of {known}.",
                self.name,
                "Call the model inside 'with row_keys(seed, step, positions)' of these rows, or after model.eval().",
            )
        features = hashes(torch.arange(shape[1:].numel(), device=device), key_of(self.name))
        mixed = rows.hashes[:, None] ^ features
        # 32-bit integers are the cheapest that vectorise; two rounds leave no pattern that a test of ours can see.
        mixed.mul_(_MIX_C)
        mixed ^= (mixed >> 15) & 0x1FFFF
        mixed.mul_(_MIX_D)
        return (mixed >= round(self.p * 2**32) - 2**31).view(shape)


def name_dropouts(model: nn.Module) -> None:
    """Name every :class:`KeyedDropout` by its place in the model, so that no two share a mask."""
    for name, module in model.named_modules():
        if isinstance(module, KeyedDropout):
            module.name = name
