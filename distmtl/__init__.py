"""distmtl: distributed multi-task learning whose result does not depend on the number of workers.

The public names are imported on first use, so that ``import distmtl`` loads neither torch nor ray.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "train": "distmtl.orchestrate",
    "evaluate": "distmtl.orchestrate",
    "RunResult": "distmtl.training.result",
    "RunConfig": "distmtl.config",
    "load_config": "distmtl.config",
    "open_source": "distmtl.data",
    "pack": "distmtl.data",
    "Loader": "distmtl.data",
}

__all__ = ["Loader", "RunConfig", "RunResult", "__version__", "evaluate", "load_config", "open_source", "pack", "train"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'distmtl' has no attribute '{name}'")
