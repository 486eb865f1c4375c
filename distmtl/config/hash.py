"""What of a run file decides the result, and what may differ between two runs that are the same.

Everything counts but the keys of :data:`FREE`: so a new key is safe by default.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from distmtl.config.problems import Finding, Problem, raise_problems
from distmtl.config.run import RunConfig


@dataclass(frozen=True)
class Free:
    """A key that does not decide the result.

    Attributes:
        key: Dotted; ``*`` stands for one name, and everything beneath the key is free too.
        why: The reason.
        unless: A key that, when it is not null, makes this one count after all.
    """

    key: str
    why: str
    unless: str | None = None


FREE: tuple[Free, ...] = (
    Free("name", "names the run; nothing random follows from it"),
    Free("store", "where the run is kept"),
    Free("launch", "where the run happens; the rows and the update of a step do not depend on the workers"),
    Free("sources.*.uri", "a source may be moved; the digest of its manifest is pinned by the run itself"),
    Free("batch.micro_rows", "counts are global, so cutting a share does not change the gradient"),
    Free("batch.prefetch_bytes", "how far the loader reads ahead, not what"),
    Free("batch.transform_workers", "which process transforms a row, not how"),
    Free("sources.*.transforms.*.tokenizer", "a file may be moved; its hash is pinned by the run itself"),
    Free("sources.*.transforms.*.file", "a file may be moved; its hash is pinned by the run itself"),
    Free("tasks.*.metrics", "measured, not trained on", unless="train.early_stop"),
    Free("train.log_every", "when a line is written"),
    Free("train.eval_every", "evaluation changes nothing", unless="train.early_stop"),
    Free("train.quarantine", "the blocks that a run does without are part of its state"),
    Free("train.device", "the same update, in another order of summation"),
    Free("parallel", "the same update, in another order of summation"),
    Free("checkpoint", "when the state is written, not what it is"),
)
"""The keys that may change between attempts of a run, and between two runs with one hash."""

EXTENSIBLE = ("train.steps", "train.passes")
"""Keys that decide the result, and may yet be raised when a run is resumed."""

_ABSENT = object()


def config_hash(config: RunConfig) -> str:
    """Sixteen hexadecimal digits over everything that decides the result; see :data:`FREE`.

    References to the environment count as they are written. The data does not count: the digests of the sources'
    manifests are kept beside this hash.
    """
    text = json.dumps(dict(sorted(_deciding(config.model_dump(mode="json")))), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Dotted keys that decide the result and differ, in the order of the run file's models.

    Args:
        old: A stored config, as ``model_dump(mode="json")`` gives it.
        new: The other one.
    """
    before, after = _pairs(old), _pairs(new)
    return [key for key in dict.fromkeys((*before, *after)) if before.get(key, _ABSENT) != after.get(key, _ABSENT)]


def check_resume(old: Mapping[str, Any], new: Mapping[str, Any], allow: Sequence[str] = ()) -> list[str]:
    """Whether a run may go on with another config; what a person should know if it may.

    ``train.steps`` and ``train.passes`` may be raised. From the step of the resume on, a schedule that ends
    (cosine, linear) is then the one of the new length, so the learning rate jumps to where that one is.

    Args:
        old: The config of the run, as stored.
        new: The config to go on with.
        allow: Dotted keys that may change with everything beneath them (``--allow-change``).

    Returns:
        A sentence for every change that was let through.

    Raises:
        ConfigError: A key that decides the result differs and is neither raised length nor allowed; a line each.
    """
    before, after = _pairs(old), _pairs(new)
    notes, findings = [], []
    for key in changes(old, new):
        was, now = before.get(key), after.get(key)
        change = f"changes from {json.dumps(was)} to {json.dumps(now)}"
        if key in EXTENSIBLE and was is not None and now is not None and now > was:
            notes.append(f"{key} {change}; the schedule is now that of the new length.")
        elif any(key == allowed or key.startswith(f"{allowed}.") for allowed in allow):
            notes.append(f"{key} {change}, as allowed; the result is no longer that of one config.")
        else:
            what = f"{change}, which changes the result of the run."
            remedy = f"Restore it, give the run another name, or pass --allow-change {key}."
            findings.append(Finding(tuple(key.split(".")), what, remedy))
    raise_problems(Problem("", finding) for finding in findings)
    return notes


def _pairs(values: Mapping[str, Any]) -> dict[str, Any]:
    return dict(_deciding(values))


def _deciding(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Dotted key and value of every leaf that decides the result."""
    leaves = dict(_leaves(values, ""))
    patterns = [free.key for free in FREE if free.unless is None or not _set(leaves, free.unless)]
    for key, value in leaves.items():
        if not any(_matches(key, pattern) for pattern in patterns):
            yield key, value


def _leaves(value: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for number, item in enumerate(value):
            yield from _leaves(item, f"{prefix}.{number}")
    else:
        yield prefix, value


def _set(leaves: Mapping[str, Any], key: str) -> bool:
    return any(_matches(leaf, key) and value is not None for leaf, value in leaves.items())


def _matches(key: str, pattern: str) -> bool:
    """Whether the key is the pattern's or stands beneath it."""
    parts, wanted = key.split("."), pattern.split(".")
    return len(parts) >= len(wanted) and all(map(fnmatchcase, parts, wanted))
