"""Run states to save, and their comparison bit by bit."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from distmtl.checkpoint.contents import RunState


def every_kind(step: int = 0) -> RunState:
    """Tensors of every kind, values of every kind; different at every step."""
    generator = torch.Generator().manual_seed(step + 1)
    tensors = {
        "trunk.weight": torch.randn(37, 11, generator=generator),
        "trunk.bias": torch.randn(37, generator=generator, dtype=torch.float64),
        "half": torch.randn(5, 3, generator=generator).to(torch.bfloat16),
        "fp16": torch.randn(5, generator=generator).half(),
        "mask": torch.rand(9, generator=generator) > 0.5,
        "count": torch.tensor(step),
        "empty": torch.empty(0, 4),
        "empty2": torch.empty(3, 0, dtype=torch.int16),
        "transposed": torch.randn(4, 6, generator=generator).t(),
        "special": torch.tensor([float("nan"), float("inf"), -0.0, 1e-45]),
        "weights": torch.randn(3, 2, generator=generator, requires_grad=True),
        "complex": torch.randn(3, generator=generator, dtype=torch.complex64),
        "bytes": torch.arange(256).to(torch.uint8),
    }
    values = {
        "step": step,
        "mixture": [(0, (3, 1), (0, 0)), (step, (1, 1), (2**80, 5))],
        "sampler": {"ema": np.random.default_rng(step).standard_normal(7), "none": None, "text": "é", "on": True},
        "balancer": {
            "w": np.float64(0.1) / 3,
            "n": np.array(5),
            "nan": float("nan"),
            "x": 0.1 + 0.2,
            3: [torch.ones(2)],
        },
    }
    return RunState(tensors, values)


def same(first: Any, second: Any) -> bool:
    """Whether two nested states are equal in structure, types and every bit."""
    if type(first) is not type(second):
        return False
    match first:
        case Tensor():
            return first.dtype == second.dtype and first.shape == second.shape and _bits(first) == _bits(second)
        case np.ndarray() | np.generic():
            return first.dtype == second.dtype and first.shape == second.shape and first.tobytes() == second.tobytes()
        case dict():
            return list(first) == list(second) and all(same(first[key], second[key]) for key in first)
        case list() | tuple():
            return len(first) == len(second) and all(map(same, first, second))
        case float():
            return repr(first) == repr(second)
    return bool(first == second)


def same_state(first: RunState, second: RunState, *, ranks: bool = False) -> bool:
    """Whether two run states are equal bit by bit, ``ranks``: in what is each rank's own, too."""
    return (
        set(first.tensors) == set(second.tensors)
        and all(same(first.tensors[name], second.tensors[name]) for name in first.tensors)
        and same(dict(first.values), dict(second.values))
        and (not ranks or same(dict(first.rank_values), dict(second.rank_values)))
    )


def _bits(tensor: Tensor) -> bytes:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
