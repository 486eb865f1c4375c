"""``${env:NAME}`` and ``${env:NAME:-default}`` in text values.

A run file is stored with its references, so that no secret and no machine's path is ever written to a store; they
are expanded on use, in each process, by :func:`resolve_env`.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from distmtl.config.problems import Finding, KeyPath, Problem, raise_problems
from distmtl.config.run import RunConfig

REFERENCE = re.compile(r"\$\{env:(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^{}]*))?\}")
"""A well-formed reference. As in a shell, the default stands for a variable that is unset or empty."""

_LOOSE = re.compile(r"\$\{(?P<inside>env\b[^}]*|[A-Za-z_][A-Za-z0-9_]*)\}?")
"""What looks like a reference but is none."""


def expand(text: str, environ: Mapping[str, str] | None = None) -> str:
    """The text with its references replaced by what the variables hold.

    Raises:
        KeyError: A variable without a default is not set; its name is the argument.
    """
    variables = os.environ if environ is None else environ

    def value(match: re.Match[str]) -> str:
        name, default = match["name"], match["default"]
        return variables[name] if default is None else (variables.get(name) or default)

    return REFERENCE.sub(value, text)


def resolve_env(config: RunConfig, environ: Mapping[str, str] | None = None) -> RunConfig:
    """The run file with every reference expanded. Use it, and store the one that was given.

    Raises:
        ConfigError: A variable without a default is not set in this process.
    """
    values = config.model_dump(mode="json")
    raise_problems(Problem("", finding) for finding in check_references(values, environ))
    return RunConfig.model_validate(_map_text(values, lambda text: expand(text, environ)))


def check_references(values: Any, environ: Mapping[str, str] | None = None) -> list[Finding]:
    """Findings for variables that are not set, and for what looks like a reference but is none."""
    variables = os.environ if environ is None else environ
    findings = []
    for path, text in _texts(values, ()):
        for match in REFERENCE.finditer(text):
            name = match["name"]
            if match["default"] is None and name not in variables:
                what = f"the environment variable {name} is not set."
                findings.append(Finding(path, what, f"Set it, or write ${{env:{name}:-default}}."))
        for match in _LOOSE.finditer(REFERENCE.sub("", text)):
            remedy = "Write ${env:NAME} or ${env:NAME:-default}."
            findings.append(Finding(path, f"'{match[0]}' is not a reference.", remedy))
    return findings


def _texts(values: Any, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(values, str):
        yield path, values
    elif isinstance(values, Mapping):
        for key, value in values.items():
            yield from _texts(value, (*path, key))
    elif isinstance(values, list):
        for index, value in enumerate(values):
            yield from _texts(value, (*path, index))


def _map_text(values: Any, change: Callable[[str], str]) -> Any:
    if isinstance(values, str):
        return change(values)
    if isinstance(values, Mapping):
        return {key: _map_text(value, change) for key, value in values.items()}
    if isinstance(values, list):
        return [_map_text(value, change) for value in values]
    return values
