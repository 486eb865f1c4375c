"""The run file: models, inheritance, overrides, errors that name file, line and key.

Reading goes one way::

    document.py   YAML text -> plain values and the place of every key
    inherit.py    `base:` files, merged
    overrides.py  `--set a.b=v`, merged last
    environment.py  ${env:NAME} references: checked here, expanded on use
    load.py       values -> RunConfig, by pydantic; explain.py turns its complaints into lines a person can act on
    validate.py   what must hold between the parts of a run file
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distmtl.config.environment import resolve_env
    from distmtl.config.hash import changes, check_resume, config_hash
    from distmtl.config.load import load_config, parse_config
    from distmtl.config.run import RunConfig

__all__ = ["RunConfig", "changes", "check_resume", "config_hash", "load_config", "parse_config", "resolve_env"]

_MODULES = {
    "RunConfig": "run",
    "changes": "hash",
    "check_resume": "hash",
    "config_hash": "hash",
    "load_config": "load",
    "parse_config": "load",
    "resolve_env": "environment",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
