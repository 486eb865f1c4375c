"""What the run file's models allow at a key: their annotations, read as a person would ask for them."""

from collections.abc import Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from distmtl.config.problems import KeyPath
from distmtl.config.run import RunConfig
from distmtl.spec import Spec

_WORDS = {str: "text", int: "an integer", float: "a number", bool: "true or false", Any: "any value"}
_PLURALS = {str: "texts", int: "integers", float: "numbers"}


def members(annotation: Any) -> tuple[Any, ...]:
    """The alternatives of a union, without None; of anything else, itself."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return members(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return tuple(inner for part in get_args(annotation) if part is not NoneType for inner in members(part))
    return (annotation,)


def spec_class(annotation: Any) -> type[Spec] | None:
    """The one model that this annotation stands for, or None."""
    parts = members(annotation)
    return parts[0] if len(parts) == 1 and isinstance(parts[0], type) and issubclass(parts[0], Spec) else None


def choices(annotation: Any) -> dict[str, type[Spec]]:
    """The models to choose from by ``kind``; empty where there is no such choice."""
    found: dict[str, type[Spec]] = {}
    for part in members(annotation):
        if not (isinstance(part, type) and issubclass(part, Spec) and "kind" in part.model_fields):
            return {}
        names = get_args(part.model_fields["kind"].annotation)
        if len(names) != 1:
            return {}
        found[names[0]] = part
    return found


def child(annotation: Any, key: str | int, value: Any) -> Any:
    """The annotation of entry ``key`` of a value; Any where nothing is known of it."""
    kinds = choices(annotation)
    spec = kinds.get(str(value.get("kind"))) if kinds and isinstance(value, Mapping) else spec_class(annotation)
    if spec is not None:
        field = spec.model_fields.get(str(key))
        return field.annotation if field else Any
    for part in members(annotation):
        origin, inner = get_origin(part), get_args(part)
        if origin is dict and isinstance(value, Mapping):
            return inner[1]
        if origin in (list, tuple) and isinstance(value, list):
            return inner[0]
    return Any


def annotation_at(path: KeyPath, values: Any) -> Any:
    """The annotation at a key of a run file with these values."""
    annotation: Any = RunConfig
    for key in path:
        annotation = child(annotation, key, values)
        values = entry(values, key)
    return annotation


def entry(values: Any, key: str | int) -> Any:
    """``values[key]`` of a mapping or list, or None."""
    if isinstance(values, Mapping):
        return values.get(key)
    if isinstance(values, list) and isinstance(key, int) and key < len(values):
        return values[key]
    return None


def expected(annotation: Any) -> str:
    """What may stand there, in words: "an integer or null", "a list of texts"."""
    parts = dict.fromkeys(_words(part) for part in members(annotation))
    words = "a mapping with 'kind'" if choices(annotation) else " or ".join(parts)
    nullable = NoneType in get_args(annotation)
    return f"{words} or null" if nullable else words


def names(annotation: Any) -> Sequence[str]:
    """The names that a Literal allows; empty for anything else."""
    parts = members(annotation)
    return [str(name) for part in parts if get_origin(part) is Literal for name in get_args(part)]


def _words(part: Any) -> str:
    origin = get_origin(part)
    if origin in (list, tuple):
        inner = get_args(part)[0]
        return f"a list of {_PLURALS.get(inner, 'names' if names(inner) else 'values')}"
    if origin is Literal:
        return f"one of {', '.join(names(part))}"
    return _WORDS.get(part, "a mapping")
