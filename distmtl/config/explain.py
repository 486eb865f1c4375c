"""Turn pydantic's complaints about a run file into findings that a person can act on."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from distmtl.config.environment import REFERENCE
from distmtl.config.problems import Finding, KeyPath, nearest, unknown
from distmtl.config.run import RunConfig
from distmtl.config.shape import child, choices, entry, expected, members, names, spec_class
from distmtl.spec import Spec

_NOUNS = {
    "sampling": "sampler",
    "balancing": "balancer",
    "optim": "optimizer",
    "heads": "head",
    "metrics": "metric",
    "tasks": "task",
}
"""What a person calls the things at a key, where it is not the key itself."""

_PATTERNS = {
    "name": "Use letters, digits, '.', '_' and '-', starting with a letter or digit.",
    "target": "Write 'package.module:Name'.",
}
"""What the patterns of text keys mean."""

_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("greater than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
}
"""Pydantic's error type: its words, and where it keeps the bound."""


@dataclass(frozen=True)
class _Spot:
    """What a complaint is about.

    Attributes:
        path: The key.
        annotation: What the models allow there.
        value: What was given there.
        owner: The model that holds the key, or None inside free mappings.
    """

    path: KeyPath
    annotation: Any
    value: Any
    owner: type[Spec] | None

    @property
    def allowed(self) -> tuple[str, ...]:
        """The keys beside this one; ``base`` is one at the top of a file."""
        keys = tuple(self.owner.model_fields) if self.owner else ()
        return (*keys, "base") if self.owner is RunConfig else keys


def explain(error: ValidationError, values: Mapping[str, Any]) -> list[Finding]:
    """A finding for every complaint about ``values``, in the order of the run file's models."""
    complaints = [(details, spot) for details in error.errors() if (spot := _follow(details["loc"], values))]
    misspelt = {
        (*spot.path[:-1], nearest(str(spot.path[-1]), spot.allowed))
        for details, spot in complaints
        if details["type"] == "extra_forbidden"
    }
    return [
        _finding(details, spot)
        for details, spot in complaints
        if not (details["type"] == "missing" and spot.path in misspelt)
    ]


def _follow(loc: tuple[int | str, ...], values: Any) -> _Spot | None:
    """Walk a pydantic location, which also names the branches of unions, along the values.

    None for a complaint about a branch that the value was never meant for.
    """
    spot = _Spot((), RunConfig, values, None)
    branched = True
    for part in loc:
        if not branched and (kinds := choices(spot.annotation)):
            spot, branched = _Spot(spot.path, kinds.get(str(part), Any), spot.value, spot.owner), True
        elif not branched and len(members(spot.annotation)) > 1:
            branch = _branch(spot.annotation, spot.value)
            if branch is None:
                return spot
            if part != (str(branch) if get_origin(branch) else branch.__name__):
                return None
            spot, branched = _Spot(spot.path, branch, spot.value, spot.owner), True
        else:
            spot, branched = _inside(spot, part), False
    return spot


def _inside(spot: _Spot, part: int | str) -> _Spot:
    annotation = child(spot.annotation, part, spot.value)
    return _Spot((*spot.path, part), annotation, entry(spot.value, part), spec_class(spot.annotation))


def _branch(annotation: Any, value: Any) -> Any:
    """The member of a plain union that a value of this shape was meant for."""
    return next((part for part in members(annotation) if isinstance(value, get_origin(part) or part)), None)


def _finding(details: ErrorDetails, spot: _Spot) -> Finding:
    kind, context = details["type"], details.get("ctx", {})
    if kind in _BOUNDS:
        words, bound = _BOUNDS[kind]
        return Finding(spot.path, f"must be {words} {context[bound]}, got {spot.value}.")
    if kind in _EXPLAINERS:
        return _EXPLAINERS[kind](spot, context)
    if kind.endswith("_type") or kind == "int_from_float":
        return Finding(spot.path, f"expected {expected(spot.annotation)}, got {given(spot.value)}.", _hint(spot))
    return Finding(spot.path, f"{details['msg'][0].lower()}{details['msg'][1:]}, got {given(spot.value)}.")


def _unknown_key(spot: _Spot, _: Mapping[str, Any]) -> Finding:
    if spot.path == ("base",):
        return Finding(spot.path, "'base' can only stand in a file.", "Write a run file that inherits.")
    return Finding(spot.path, *unknown("key", spot.path[-1], spot.allowed))


def _missing_key(spot: _Spot, _: Mapping[str, Any]) -> Finding:
    return Finding(spot.path, f"missing key '{spot.path[-1]}'.", f"Give {expected(spot.annotation)}.")


def _unknown_kind(spot: _Spot, _: Mapping[str, Any]) -> Finding:
    given_kind = spot.value["kind"]
    allowed = list(choices(spot.annotation))
    if not isinstance(given_kind, str):
        what = f"expected the name of a {_noun(spot.path)}, got {given(given_kind)}."
        return Finding((*spot.path, "kind"), what, f"Allowed: {', '.join(allowed)}.")
    return Finding((*spot.path, "kind"), *unknown(_noun(spot.path), given_kind, allowed))


def _missing_kind(spot: _Spot, _: Mapping[str, Any]) -> Finding:
    kinds = ", ".join(choices(spot.annotation))
    misspelt = nearest("kind", spot.value)
    if misspelt:
        return Finding((*spot.path, misspelt), f"unknown key '{misspelt}'; did you mean 'kind'?", f"Kinds: {kinds}.")
    what = f"missing key 'kind', which says which {_noun(spot.path)}."
    return Finding((*spot.path, "kind"), what, f"Allowed: {kinds}.")


def _unknown_name(spot: _Spot, _: Mapping[str, Any]) -> Finding:
    allowed = names(spot.annotation)
    if not isinstance(spot.value, str):
        return Finding(spot.path, f"expected one of {', '.join(allowed)}, got {given(spot.value)}.")
    return Finding(spot.path, *unknown(_noun(spot.path), spot.value, allowed))


def _too_short(spot: _Spot, context: Mapping[str, Any]) -> Finding:
    what = f"needs at least {context['min_length']} entry, has {context['actual_length']}."
    return Finding(spot.path, what, f"Give {expected(spot.annotation)}.")


def _pattern(spot: _Spot, context: Mapping[str, Any]) -> Finding:
    remedy = _PATTERNS.get(str(spot.path[-1]), f"It must match {context['pattern']}.")
    return Finding(spot.path, f"'{spot.value}' is not allowed here.", remedy)


def _refused(spot: _Spot, context: Mapping[str, Any]) -> Finding:
    return Finding(spot.path, f"{context['error']}.")


_EXPLAINERS: Mapping[str, Callable[[_Spot, Mapping[str, Any]], Finding]] = {
    "extra_forbidden": _unknown_key,
    "missing": _missing_key,
    "union_tag_invalid": _unknown_kind,
    "union_tag_not_found": _missing_kind,
    "literal_error": _unknown_name,
    "too_short": _too_short,
    "string_pattern_mismatch": _pattern,
    "value_error": _refused,
}


def _noun(path: KeyPath) -> str:
    """What a person calls the thing at a path: "sampler", "loss", "task kind", "metric"."""
    words = [str(part) for part in path if not isinstance(part, int)]
    if words[-1] == "kind" and len(words) > 1:
        return f"{_noun(tuple(words[:-1]))} kind"
    owner = words[-2] if len(words) > 1 else ""
    last = owner if owner in _NOUNS and owner not in ("sampling", "balancing", "optim") else words[-1]
    return _NOUNS.get(last, last)


def given(value: Any) -> str:
    """A value in words: "the integer 3", "text 'abc'", "a list"."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"the {'integer' if isinstance(value, int) else 'number'} {value}"
    if isinstance(value, str):
        return f"text '{value}'"
    return "a mapping" if isinstance(value, Mapping) else "a list"


def _hint(spot: _Spot) -> str:
    """How to write what was probably meant."""
    wanted, value = members(spot.annotation), spot.value
    if isinstance(value, str):
        return _text_hint(spot, value)
    if isinstance(value, float) and int in wanted and value.is_integer():
        return f"Write {int(value)}."
    if isinstance(value, bool | int | float) and str in wanted:
        return f'Write it in quotes: "{str(value).lower()}".'
    if isinstance(value, bool | int | float) and any(get_origin(part) in (list, tuple) for part in wanted):
        return f"Write [{str(value).lower()}]."
    return ""


def _text_hint(spot: _Spot, value: str) -> str:
    wanted = members(spot.annotation)
    if value in choices(spot.annotation):
        return f"Write {{kind: {value}}}."
    if REFERENCE.search(value):
        return "References stand in text only; use --set for other values."
    if any(get_origin(part) in (list, tuple) for part in wanted):
        return f"Write [{value}]."
    try:
        plain = isinstance(json.loads(value), tuple(part for part in wanted if isinstance(part, type)))
    except ValueError:
        return ""
    return "Write it without quotes." if plain else ""
