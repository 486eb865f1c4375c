"""Small JSON objects that notice when they are damaged: run.json, attempt records, COMMIT.json."""

import json
from collections.abc import Mapping
from typing import Any

import xxhash

from distmtl.errors import CheckpointError

_SEAL = "xxh3_128"


def to_json(values: Any) -> bytes:
    """JSON text in the one form that the project writes, in the order of ``values``."""
    return json.dumps(values, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def digest(data: bytes) -> str:
    """XXH3 of some bytes, 128 bits as hexadecimal digits."""
    return xxhash.xxh3_128_hexdigest(data)


def seal(values: Mapping[str, Any]) -> bytes:
    """JSON text of ``values`` with a checksum of itself as its last key."""
    return to_json({**values, _SEAL: digest(to_json(dict(values)))})


def unseal(data: bytes, where: str) -> dict[str, Any]:
    """The values that ``seal`` was given.

    Raises:
        CheckpointError: A single bit differs from what ``seal`` returned.
    """
    try:
        values = json.loads(data)
        del values[_SEAL]
        intact = seal(values) == data
    except (ValueError, TypeError, KeyError):
        intact, values = False, {}
    if not intact:
        raise CheckpointError("the record does not match its own checksum.", where, "Restore it from a copy.")
    return dict(values)
