"""Sources, the plan, and the loader that reads them.

The public names are imported on first use: packing and describing sources loads no torch.
"""

import importlib
from typing import Any

_PUBLIC = {
    "Loader": "distmtl.data.loader",
    "Manifest": "distmtl.data.manifest",
    "NodeCache": "distmtl.data.node_cache",
    "PackOptions": "distmtl.data.options",
    "Source": "distmtl.data.source",
    "open_loader": "distmtl.data.standalone",
    "open_source": "distmtl.data.source",
    "pack": "distmtl.data.packing",
    "verify": "distmtl.data.verify",
}

__all__ = ["Loader", "Manifest", "NodeCache", "PackOptions", "Source", "open_loader", "open_source", "pack", "verify"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'distmtl.data' has no attribute '{name}'")
