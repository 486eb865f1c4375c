"""Sources, the plan, and the loader that reads them.

The public names are imported on first use: packing and describing sources loads no torch.
"""

import importlib
from typing import Any

_PUBLIC = {
    "Loader": "distmtl.data.loader",
    "Manifest": "distmtl.data.manifest",
    "PackOptions": "distmtl.data.options",
    "Source": "distmtl.data.source",
    "open_source": "distmtl.data.source",
    "pack": "distmtl.data.packing",
    "verify": "distmtl.data.source",
}

__all__ = ["Loader", "Manifest", "PackOptions", "Source", "open_source", "pack", "verify"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'distmtl.data' has no attribute '{name}'")
