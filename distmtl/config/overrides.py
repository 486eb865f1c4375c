"""``--set a.b=v``: values from the command line, merged over the run file like a last inheriting file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distmtl.config.document import Document, Place, parse_value
from distmtl.config.problems import Finding, KeyPath, Problem, dotted, nearest, unknown
from distmtl.config.shape import annotation_at, child
from distmtl.errors import ConfigError


def read_overrides(overrides: Sequence[str]) -> Document:
    """What the overrides say, later ones over earlier ones.

    A value is read as YAML would read it, so ``--set model.trunk.hidden=[64,32]`` gives a list and
    ``--set name=7`` a number, which a name may not be; ``--set 'name="7"'`` gives text.

    Raises:
        ConfigError: One is not ``KEY=VALUE``, or its value is not YAML.
    """
    values: dict[str, Any] = {}
    places: dict[KeyPath, Place] = {}
    for override in overrides:
        path, value = parse_override(override)
        _put(values, path, value)
        for stale in [known for known in places if known[: len(path)] == path]:
            del places[stale]
        places[path] = Place(f"--set {override}", Path.cwd())
    return Document(values, places)


def parse_override(override: str) -> tuple[tuple[str, ...], Any]:
    """The key and the value of ``a.b=v``.

    Raises:
        ConfigError: It is not ``KEY=VALUE``, or its value is not YAML.
    """
    place = f"--set {override}"
    key, equals, text = override.partition("=")
    path = tuple(part.strip() for part in key.split("."))
    if not equals or not all(path):
        raise ConfigError("expected KEY=VALUE.", place, "Write for example --set optim.lr=3e-4.")
    try:
        return path, parse_value(text)
    except ConfigError as error:
        raise ConfigError(error.what, f"{place}: {dotted(path)}", error.remedy) from error


def misspelt_names(overrides: Document, values: Mapping[str, Any]) -> list[Problem]:
    """Problems for overrides of a source or task that is not there, but is like one that is.

    An override may add a source or task; so only those count that do not say enough to make one.

    Args:
        overrides: What :func:`read_overrides` gave.
        values: The run file that they are merged over.
    """
    problems = []
    for section in ("sources", "tasks"):
        added, known = overrides.values.get(section), values.get(section)
        if not isinstance(added, Mapping) or not isinstance(known, Mapping):
            continue
        model = child(annotation_at((section,), values), "", known)
        required = {name for name, field in model.model_fields.items() if field.is_required()}
        for name, value in added.items():
            enough = isinstance(value, Mapping) and required <= set(value)
            if name not in known and not enough and nearest(name, known):
                finding = Finding((section, name), *unknown(section.removesuffix("s"), name, list(known)))
                problems.append(overrides.problem(finding))
    return problems


def _put(values: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for key in path[:-1]:
        inner = values.get(key)
        if not isinstance(inner, dict):
            inner = values[key] = {}
        values = inner
    values[path[-1]] = value
