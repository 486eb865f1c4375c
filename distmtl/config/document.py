"""A run file as YAML gives it: plain values, and the place of every key.

Scalars follow YAML 1.2's core schema, which reads as people write: ``1e-3`` is a number, ``no`` and ``12:30`` are
text, ``010`` is ten.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from distmtl.config.problems import Finding, KeyPath, Problem, raise_problems
from distmtl.errors import ConfigError


@dataclass(frozen=True)
class Place:
    """Where a key was given, and the folder that relative source URIs given there are relative to."""

    text: str
    folder: Path


@dataclass(frozen=True)
class Document:
    """Plain values (mappings, lists, scalars) and the place of each."""

    values: dict[str, Any]
    places: Mapping[KeyPath, Place] = field(default_factory=dict)

    def place(self, path: KeyPath) -> Place | None:
        """The place of a key, else of the first beneath it, else of the nearest enclosing key that has one.

        An override has no place but that of the value it sets, hence the second.
        """
        for length in range(len(path), 0, -1):
            beneath = (place for inner, place in self.places.items() if inner[:length] == path[:length])
            if found := self.places.get(path[:length]) or next(beneath, None):
                return found
        return self.places.get(())

    def problem(self, finding: Finding) -> Problem:
        """A finding with its place."""
        place = self.place(finding.path)
        return Problem(place.text if place else "", finding)

    def raise_findings(self, findings: Iterable[Finding]) -> None:
        """Raise all findings as one error, a line each; return if there are none.

        Raises:
            ConfigError: There is a finding.
        """
        raise_problems(self.problem(finding) for finding in findings)


def read_document(path: Path) -> Document:
    """Read one YAML file; ``base:`` is a key like any other here.

    Raises:
        ConfigError: The file cannot be read, is not YAML, gives a key twice, or is not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"cannot read the run file: {error.strerror or error}.", str(path), "Check the path."
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError("the run file is not UTF-8 text.", str(path), "Give a YAML file.") from error
    return parse_document(text, str(path), path.parent)


def parse_document(text: str, name: str, folder: Path) -> Document:
    """Parse YAML text that came from ``name``.

    Raises:
        ConfigError: As for :func:`read_document`.
    """
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise _syntax_error(error, name) from error
    if root is None:
        raise ConfigError("the run file is empty.", name, "Start from one of the files in configs/.")
    reading = _Reading(name, folder)
    values = reading.value(root, ())
    if not isinstance(root, yaml.MappingNode):
        reading.complain(root, (), f"a run file is a mapping, not {_kind(root)}.", "Write 'key: value' lines.")
    raise_problems(reading.problems)
    return Document(values, reading.places)


def parse_value(text: str) -> Any:
    """The value that YAML gives to one scalar or flow collection, such as ``3e-4`` or ``[64, 32]``.

    Raises:
        ConfigError: It is not YAML.
    """
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"the value is not YAML: {_complaint(error)}.", remedy="Quote it for the shell.") from error
    reading = _Reading("", Path())
    value = None if root is None else reading.value(root, ())
    raise_problems(reading.problems)
    return value


class _Loader(yaml.SafeLoader):
    """The safe loader with YAML 1.2's scalars."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (PyYAML's own table)


_NULL, _BOOL, _INT, _FLOAT, _TEXT = (f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str"))

for _tag, _pattern, _first in (
    (_NULL, r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    (_BOOL, r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    (_INT, r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (_FLOAT, r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
    (_FLOAT, r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", list("-+.")),
):
    _Loader.add_implicit_resolver(_tag, re.compile(rf"^(?:{_pattern})$"), _first)


class _Reading:
    """One walk over a node tree: values, places and problems."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.places: dict[KeyPath, Place] = {}
        self.problems: list[Problem] = []
        self._open: list[yaml.Node] = []

    def value(self, node: yaml.Node, path: KeyPath) -> Any:
        """The plain value of a node that stands at ``path``."""
        self.places.setdefault(path, self._place(node))
        if any(node is outer for outer in self._open):
            self.complain(node, path, "an alias contains itself.", "Write the values out.")
            return None
        self._open.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            if isinstance(node, yaml.SequenceNode):
                return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
            return self._scalar(node, path)
        finally:
            self._open.pop()

    def complain(self, node: yaml.Node, path: KeyPath, what: str, remedy: str) -> None:
        """Note a problem at a node."""
        self.problems.append(Problem(self._place(node).text, Finding(path, what, remedy)))

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value if key_node.tag == _TEXT else None
            if key is None:
                given = key_node.value if isinstance(key_node, yaml.ScalarNode) else _kind(key_node)
                self.complain(key_node, path, f"the key {given} is not text.", "Write it in quotes.")
                continue
            here = (*path, key)
            if key in values:
                first = self.places[here].text
                self.complain(key_node, here, f"the key '{key}' is given twice, first at {first}.", "Keep one of them.")
                continue
            self.places[here] = self._place(key_node)
            values[key] = self.value(value_node, here)
        return values

    def _scalar(self, node: yaml.Node, path: KeyPath) -> Any:
        text = str(node.value)
        if node.tag == _TEXT:
            return text
        if node.tag == _NULL:
            return None
        if node.tag == _BOOL:
            return text.lower() == "true"
        if node.tag == _INT:
            return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
        if node.tag == _FLOAT:
            return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        self.complain(node, path, f"the tag '{node.tag}' is not allowed.", "Write plain values.")
        return None

    def _place(self, node: yaml.Node) -> Place:
        return Place(f"{self.name}:{node.start_mark.line + 1}", self.folder)


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    return "a list" if isinstance(node, yaml.SequenceNode) else "a single value"


def _syntax_error(error: yaml.YAMLError, name: str) -> ConfigError:
    mark = getattr(error, "problem_mark", None)
    where = f"{name}:{mark.line + 1}" if mark else name
    return ConfigError(f"not YAML: {_complaint(error)}.", where, "Check indentation, quotes and brackets near there.")


def _complaint(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError):
        return ", ".join(part for part in (error.context, error.problem) if part)
    return " ".join(str(error).split())
