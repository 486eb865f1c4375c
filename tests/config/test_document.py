from pathlib import Path
from typing import Any

import pytest

from distmtl.config.document import parse_document, parse_value
from distmtl.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("1.", 1.0),
        (".5", 0.5),
        ("-2.5E+2", -250.0),
        (".inf", float("inf")),
        ("-.inf", float("-inf")),
        ("1_000", "1_000"),
        ("010", 10),
        ("0x10", 16),
        ("0o10", 8),
        ("-7", -7),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("False", False),
        ("12:30", "12:30"),
        ("2026-11-23", "2026-11-23"),
        ("null", None),
        ("~", None),
        ("", None),
        ("'7'", "7"),
        ("-", None),
        ("[64, 32]", [64, 32]),
        ("{kind: uniform}", {"kind": "uniform"}),
        ("s3://bucket/a#b", "s3://bucket/a#b"),
    ],
)
def test_scalars_read_as_people_write_them(text: str, value: Any) -> None:
    if text == "-":
        assert parse_value(text) == [None]
        return
    read = parse_value(text)
    assert read == value
    assert type(read) is type(value)


def test_every_key_and_item_has_its_line() -> None:
    document = parse_document("a:\n  b: 1\n  c:\n  - x\n  - y\n", "f.yaml", Path("folder"))
    lines = {path: place.text for path, place in document.places.items()}
    assert lines == {
        (): "f.yaml:1",
        ("a",): "f.yaml:1",
        ("a", "b"): "f.yaml:2",
        ("a", "c"): "f.yaml:3",
        ("a", "c", 0): "f.yaml:4",
        ("a", "c", 1): "f.yaml:5",
    }
    assert document.place(("a", "zzz", 3)) == document.places[("a",)]


def test_aliases_are_values() -> None:
    document = parse_document("a: &x {k: 1}\nb: *x\n", "f.yaml", Path())
    assert document.values == {"a": {"k": 1}, "b": {"k": 1}}


def test_all_duplicates_are_named() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_document("a: 1\nb: {c: 1, c: 2}\na: 3\n", "f.yaml", Path())
    assert str(caught.value).splitlines() == [
        "f.yaml:2: b.c: the key 'c' is given twice, first at f.yaml:2. Keep one of them.",
        "f.yaml:3: a: the key 'a' is given twice, first at f.yaml:1. Keep one of them.",
    ]
