"""``base:`` inheritance: a run file says only how it differs from another.

Mappings merge key by key, everything else is replaced. A choice of another ``kind`` than the base's replaces it
whole: the hyperparameters of one optimizer mean nothing to another.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from distmtl.config.document import Document, read_document
from distmtl.config.environment import check_references, expand
from distmtl.config.problems import Finding, KeyPath
from distmtl.config.shape import annotation_at, choices


def read_run_file(path: Path, above: tuple[Path, ...] = ()) -> Document:
    """Read a run file and, through ``base:``, those it inherits from.

    Args:
        path: The file.
        above: The files that led here.

    Raises:
        ConfigError: A file cannot be read or parsed, or the chain of bases is a circle.
    """
    document = read_document(path)
    if "base" not in document.values:
        return document
    base_path = _base_path(document, path)
    chain = (*above, path)
    if any(base_path.resolve() == file.resolve() for file in chain):
        circle = " -> ".join(str(file) for file in (*chain, base_path))
        finding = Finding(("base",), f"the chain of bases is a circle: {circle}.", "Remove one 'base'.")
        raise document.problem(finding).error()
    if not base_path.is_file():
        raise document.problem(Finding(("base",), f"there is no file '{base_path}'.", "Check the path.")).error()
    own = replace(document, values={key: value for key, value in document.values.items() if key != "base"})
    return merge(read_run_file(base_path, chain), own)


def _base_path(document: Document, path: Path) -> Path:
    """Where ``base`` points, relative to the file that names it."""
    given = document.values["base"]
    if not isinstance(given, str):
        finding = Finding(("base",), "expected the path of one run file.", "Write 'base: ./other.yaml'.")
        raise document.problem(finding).error()
    document.raise_findings(check_references({"base": given}))
    return Path(os.path.normpath(path.parent / expand(given)))


def merge(base: Document, over: Document) -> Document:
    """``base`` with what ``over`` says instead; each key keeps the place where its value was given."""
    replaced: set[KeyPath] = set()
    values = _merge(base.values, over.values, (), base.values, replaced)
    kept = {path: place for path, place in base.places.items() if not _inside(path, replaced)}
    return Document(values, {**kept, **over.places})


def _merge(base: Any, over: Any, path: KeyPath, root: Mapping[str, Any], replaced: set[KeyPath]) -> Any:
    mergeable = isinstance(base, Mapping) and isinstance(over, Mapping)
    if not mergeable or _another_kind(base, over, path, root):
        replaced.add(path)
        return over
    merged = dict(base)
    for key, value in over.items():
        merged[key] = _merge(base[key], value, (*path, key), root, replaced) if key in base else value
    return merged


def _another_kind(base: Mapping[str, Any], over: Mapping[str, Any], path: KeyPath, root: Mapping[str, Any]) -> bool:
    """Whether both choose, and differently."""
    if "kind" not in over or "kind" not in base or over["kind"] == base["kind"]:
        return False
    return bool(choices(annotation_at(path, root)))


def _inside(path: KeyPath, roots: set[KeyPath]) -> bool:
    return any(path[:length] in roots for length in range(len(path) + 1))
