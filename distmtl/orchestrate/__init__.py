"""Wires the parts together and starts workers: in this process, by torchrun, or by Ray (imported here alone)."""

import importlib
from typing import Any

_PUBLIC = {"train": "distmtl.orchestrate.api", "evaluate": "distmtl.orchestrate.evaluation"}

__all__ = ["evaluate", "train"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'distmtl.orchestrate' has no attribute '{name}'")
