"""Read a run file into a :class:`~distmtl.config.run.RunConfig`, or say in a line per problem why not."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from distmtl.config.document import Document
from distmtl.config.environment import check_references, expand
from distmtl.config.explain import explain
from distmtl.config.inherit import merge, read_run_file
from distmtl.config.overrides import misspelt_names, read_overrides
from distmtl.config.problems import KeyPath, raise_problems
from distmtl.config.run import RunConfig
from distmtl.config.validate import check_consistency
from distmtl.data.transforms.specs import FILES


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """The run that a file describes.

    Relative source URIs and files of transforms become absolute, from the folder of the file (or, for an override, the
    working folder) that names them; so does ``store``, from the working folder. ``${env:NAME}`` references are checked
    but kept: see :func:`~distmtl.config.environment.resolve_env`.

    Args:
        path: The YAML file.
        overrides: ``a.b=v``, as given to ``--set``.

    Raises:
        ConfigError: Something is wrong; every problem found is one line ``file:line: key: what remedy``.
    """
    given, over = read_run_file(Path(path)), read_overrides(overrides)
    document = merge(given, over)
    raise_problems(misspelt_names(over, given.values))
    config = _validated(document)
    return config.model_copy(update={"store": absolute_uri(config.store, Path.cwd())})


def parse_config(values: Mapping[str, Any]) -> RunConfig:
    """The run that plain values describe, such as the ones of ``run.json``. URIs are taken as they are.

    Raises:
        ConfigError: Something is wrong; every problem found is one line ``key: what remedy``.
    """
    return _validated(Document(json.loads(json.dumps(values, default=os.fspath))))


def _validated(document: Document) -> RunConfig:
    document.raise_findings(check_references(document.values))
    values = _absolute(document)
    try:
        # JSON's strict mode takes lists for tuples and 1 for 1.0, but neither "1" nor true for 1.
        config = RunConfig.model_validate_json(json.dumps(values), strict=True)
    except ValidationError as error:
        document.raise_findings(explain(error, document.values))
        raise
    document.raise_findings(check_consistency(config))
    return config


def _absolute(document: Document) -> dict[str, Any]:
    """The values with relative locations made absolute, where the document knows what they are relative to."""
    values = dict(document.values)
    if document.places and isinstance(values.get("sources"), Mapping):
        values["sources"] = {
            name: _absolute_source(document, name, source) for name, source in values["sources"].items()
        }
    return values


def _absolute_source(document: Document, name: str, source: Any) -> Any:
    if not isinstance(source, Mapping):
        return source
    path = ("sources", name)
    absolute = _absolute_keys(document, path, source, ("uri",))
    if isinstance(source.get("transforms"), list):
        absolute["transforms"] = [
            _absolute_keys(document, (*path, "transforms", number), transform, FILES)
            if isinstance(transform, Mapping) and transform.get("kind") != "custom"
            else transform
            for number, transform in enumerate(source["transforms"])
        ]
    return absolute


def _absolute_keys(document: Document, path: KeyPath, values: Any, keys: Sequence[str]) -> dict[str, Any]:
    """The mapping at a path with some of its keys made absolute, those that are text."""
    absolute = dict(values)
    for key in keys:
        place = document.place((*path, key))
        if place is not None and isinstance(values.get(key), str):
            absolute[key] = absolute_uri(values[key], place.folder)
    return absolute


def absolute_uri(uri: str, folder: Path) -> str:
    """The URI, from ``folder`` if what it expands to is a relative path. References stay."""
    expanded = expand(uri)
    if not expanded or "://" in expanded or Path(expanded).is_absolute():
        return uri
    absolute = str(Path.cwd() / folder / uri)
    return os.path.normpath(absolute) if uri == expanded else absolute
