"""The JSON schema of run files, for editors: ``python -m distmtl.config.schema configs/schema.json``."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from distmtl.config.run import RunConfig


def run_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of a run file.

    A file with ``base`` may leave out whole sections, but an editor asks for the required keys of those it has.
    """
    schema = RunConfig.model_json_schema(mode="validation")
    for choice in _choices(schema):
        for option in choice["oneOf"]:
            model = schema["$defs"][option["$ref"].rsplit("/", 1)[-1]]
            model["required"] = sorted({"kind", *model.get("required", ())})
    required = schema.pop("required")
    schema["properties"] = {
        "base": {"type": "string", "description": "A run file to inherit from, relative to this one."}
    } | schema["properties"]
    schema["anyOf"] = [{"required": ["base"]}, {"required": required}]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema | {"title": "distmtl run file"}


def schema_text() -> str:
    """The schema as it is committed."""
    return json.dumps(run_schema(), indent=2, ensure_ascii=False) + "\n"


def _choices(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if "discriminator" in value and "oneOf" in value:
            yield value
        for inner in value.values():
            yield from _choices(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _choices(inner)


def main(arguments: list[str]) -> None:
    """Write the schema to the file that is named, or to standard output."""
    if arguments:
        Path(arguments[0]).write_text(schema_text(), encoding="utf-8")
    else:
        sys.stdout.write(schema_text())


if __name__ == "__main__":
    main(sys.argv[1:])
