"""The reference of the run file, made from its models: ``docs/run-file.md``.

``python -m distmtl.config.reference docs/run-file.md`` writes it; a test says when it is no longer current.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from distmtl.config.run import RunConfig

_INTRO = """# The run file

Made from the models that read it (`make schema`). A run file is YAML; unknown keys are errors. Besides these keys,
`base: other.yaml` inherits from another file, and `${env:NAME}` or `${env:NAME:-default}` in any text stands for an
environment variable; the reference itself is what is stored with the run.

Every choice with a `kind` also takes `{kind: custom, target: module:Name, args: {...}}` where the table says so: see
[custom-parts.md](custom-parts.md).
"""

Schema = Mapping[str, Any]


def reference() -> str:
    """The whole page."""
    schema = RunConfig.model_json_schema()
    models: Mapping[str, Schema] = schema["$defs"]
    parts = [_INTRO, "## Top level\n", _table(schema, models)]
    for name, model in models.items():
        if "properties" in model:
            parts += [f"## {_title(name, model)}\n", _plain(model.get("description", "")) + "\n", _table(model, models)]
    return "\n".join(parts)


def _title(name: str, model: Schema) -> str:
    kind = model["properties"].get("kind", {}).get("const")
    title = name.removesuffix("Spec")
    return f"{title} (`kind: {kind}`)" if kind else title


def _table(model: Schema, models: Mapping[str, Schema]) -> str:
    required = set(model.get("required", ()))
    rows = ["| key | value | default | meaning |", "|---|---|---|---|"]
    for key, value in model["properties"].items():
        default = "required" if key in required else f"`{_default(value.get('default'))}`"
        rows.append(f"| `{key}` | {_type(value, models)} | {default} | {_plain(value.get('description', ''))} |")
    return "\n".join(rows) + "\n"


def _default(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{kind: {value['kind']}, ...}}" if "kind" in value else "{...}" if value else "{}"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _type(value: Schema, models: Mapping[str, Schema]) -> str:
    return " or ".join(dict.fromkeys(_types(value, models)))


def _types(value: Schema, models: Mapping[str, Schema]) -> Iterator[str]:
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        yield f"[{name.removesuffix('Spec')}](#{_anchor(_title(name, models[name]))})"
    elif "const" in value:
        yield f"`{value['const']}`"
    elif "enum" in value:
        yield ", ".join(f"`{choice}`" for choice in value["enum"])
    elif options := value.get("anyOf") or value.get("oneOf") or value.get("allOf"):
        for option in options:
            yield from _types(option, models)
    elif value.get("type") == "array":
        yield f"list of {_type(value.get('items', {}), models)}" if value.get("items") else "list"
    elif isinstance(value.get("additionalProperties"), Mapping) and value["additionalProperties"]:
        yield f"mapping of {_type(value['additionalProperties'], models)}"
    else:
        kind = str(value.get("type", "anything"))
        yield {"object": "mapping"}.get(kind, kind) + _bounds(value)


def _bounds(value: Schema) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    found = [f"{sign} {value[name]:g}" for name, sign in signs.items() if name in value]
    return f" ({', '.join(found)})" if found else ""


def _anchor(title: str) -> str:
    return "".join(c for c in title.lower().replace(" ", "-") if c.isalnum() or c in "-_")


def _plain(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(reference(), encoding="utf-8")
