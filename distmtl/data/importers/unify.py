"""One type for a column whose parts have several: what JSON and Python leave open."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa


def unify(first: pa.DataType, second: pa.DataType) -> pa.DataType | None:
    """The type that holds the values of both, or None: numbers meet as floats, and null meets everything.

    Times that are not all in one form, and times among strings, are strings: that is what they were.
    """
    if first == second or pa.types.is_null(second):
        return first
    if pa.types.is_null(first):
        return second
    if pa.types.is_list(first) and pa.types.is_list(second):
        inner = unify(first.value_type, second.value_type)
        return None if inner is None else pa.list_(inner)
    if pa.types.is_struct(first) and pa.types.is_struct(second):
        return _unify_structs(first, second)
    return _unify_plain(first, second)


def kind_of(value: Any) -> pa.DataType | None:
    """The type of one Python value; None where the elements of a list in it have no type in common.

    Raises:
        ArrowException: Arrow has no type for it.
    """
    if isinstance(value, (list, tuple)):
        kinds = [kind_of(element) for element in value]
        inner = _unify_all(kinds)
        return None if inner is None else pa.list_(inner)
    if isinstance(value, dict):
        fields = {str(name): kind_of(part) for name, part in value.items()}
        return None if None in fields.values() else pa.struct(list(fields.items()))
    return pa.array([value]).type


def _unify_all(kinds: Sequence[pa.DataType | None]) -> pa.DataType | None:
    both: pa.DataType | None = pa.null()
    for kind in dict.fromkeys(kinds):
        both = None if both is None or kind is None else unify(both, kind)
    return both


def _unify_plain(first: pa.DataType, second: pa.DataType) -> pa.DataType | None:
    types = pa.types
    if _is_number(first) and _is_number(second):
        return _unify_numbers(first, second)
    if all(types.is_timestamp(kind) or types.is_string(kind) for kind in (first, second)):
        return pa.string()
    try:
        fields = [pa.schema([pa.field("", kind)]) for kind in (first, second)]
        return pa.unify_schemas(fields, promote_options="permissive").field(0).type
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return None


def _unify_numbers(first: pa.DataType, second: pa.DataType) -> pa.DataType:
    if pa.types.is_integer(first) and pa.types.is_integer(second):
        widths = first.bit_width, second.bit_width
        return pa.uint64() if 64 in widths and pa.uint64() in (first, second) else pa.int64()
    return pa.float32() if first == second == pa.float32() else pa.float64()


def _unify_structs(first: Any, second: Any) -> pa.DataType | None:
    kinds = {first.field(i).name: first.field(i).type for i in range(first.num_fields)}
    for i in range(second.num_fields):
        field = second.field(i)
        kind = unify(kinds.get(field.name, pa.null()), field.type)
        if kind is None:
            return None
        kinds[field.name] = kind
    return pa.struct(list(kinds.items()))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def describe(kind: pa.DataType) -> str:
    """A type in the words of JSON."""
    types = pa.types
    if _is_number(kind):
        return "a number"
    if types.is_string(kind) or types.is_timestamp(kind):
        return "a string"
    if types.is_boolean(kind):
        return "true or false"
    if types.is_list(kind):
        return f"a list whose elements are each {describe(kind.value_type)}"
    return "an object" if types.is_struct(kind) else "null" if types.is_null(kind) else f"of type {kind}"
