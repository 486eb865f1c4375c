"""LibMTL's weighting classes, given the task gradients.

LibMTL 1.1.5 cannot be imported: its ``__init__`` takes ``torchvision.models.utils``, which is long gone. Its
``weighting`` package needs torch alone; it is imported here without the ``__init__`` above it. The classes take
gradients from a model on a GPU; here the two methods by which they read and write them are replaced.
"""

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distmtl.balancing.submatrix import Matrix


@contextmanager
def weighting_classes() -> Iterator[ModuleType]:
    """The ``LibMTL.weighting`` package; afterwards, nothing of it is left imported."""
    spec = importlib.util.find_spec("LibMTL")
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError("LibMTL is not installed")
    package = ModuleType("LibMTL")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules["LibMTL"] = package
    try:
        yield importlib.import_module("LibMTL.weighting")
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "LibMTL"]:
            del sys.modules[name]


def update(weighting: Any, rows: Matrix, **options: object) -> Matrix:
    """What a weighting makes of these gradients ``[P]``, in float64.

    Args:
        weighting: An instance.
        rows: The task gradients ``[T, P]``.
        options: Of its ``backward``.
    """
    found: list[Tensor] = []
    weighting.task_num, weighting.device, weighting.rep_grad = len(rows), "cpu", False
    weighting._compute_grad_dim = lambda: None
    weighting._compute_grad = lambda losses, mode: torch.from_numpy(rows.copy())
    weighting._reset_grad = found.append
    weighting.init_param()
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # CAGrad makes its weights with torch.Tensor
    try:
        weighting.backward(torch.ones(len(rows)), **options)
    finally:
        torch.set_default_dtype(default)
    return np.asarray(found[0].detach())
