"""What is wrong with a run file, as lines that name the place, the key and the way out."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from distmtl.errors import ConfigError

KeyPath = tuple[str | int, ...]
"""Where a value stands in the run file: ("tasks", "income", "metrics", 0)."""


@dataclass(frozen=True)
class Finding:
    """Something wrong at a key, whatever the file it stands in."""

    path: KeyPath
    what: str
    remedy: str = ""


@dataclass(frozen=True)
class Problem:
    """A finding and its place: ``file:line``, ``--set a.b=v``, or nothing where the values came from a program."""

    place: str
    finding: Finding

    @property
    def where(self) -> str:
        """``file:line: key.path``, without the parts that are not known."""
        return ": ".join(part for part in (self.place, dotted(self.finding.path)) if part)

    def error(self) -> ConfigError:
        """The problem alone, as an error."""
        return ConfigError(self.finding.what, where=self.where, remedy=self.finding.remedy)


def raise_problems(problems: Iterable[Problem]) -> None:
    """Raise all problems as one error, a line each; return if there are none.

    Raises:
        ConfigError: There is a problem.
    """
    found = list(dict.fromkeys(problems))
    if len(found) == 1:
        raise found[0].error()
    if found:
        raise ConfigError("\n".join(str(problem.error()) for problem in found))


def dotted(path: KeyPath) -> str:
    """``tasks.income.metrics.0``."""
    return ".".join(str(part) for part in path)


def unknown(what: str, name: object, allowed: Sequence[str]) -> tuple[str, str]:
    """What and remedy for a name that is not among the allowed ones: the nearest of them, and all."""
    near = nearest(str(name), allowed)
    hint = f"; did you mean '{near}'?" if near else "."
    return f"unknown {what} '{name}'{hint}", f"Allowed: {', '.join(allowed) or 'nothing'}."


def nearest(name: str, allowed: Iterable[str]) -> str | None:
    """The allowed name that is most like ``name``, if any is."""
    found = difflib.get_close_matches(name, list(allowed), n=1, cutoff=0.6)
    return found[0] if found else None
