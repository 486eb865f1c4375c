"""What a running job tells the person who watches it, one plain dictionary per event.

Events cross process boundaries, so they hold numbers, strings and dictionaries alone. ``kind`` says which of the
shapes below an event has.
"""

from collections.abc import Mapping
from typing import Any, Literal, TypedDict


class Start(TypedDict):
    """Training begins, or goes on."""

    kind: Literal["start"]
    run: str
    """URI of the run."""
    step: int
    """Steps done before."""
    steps: int
    """Steps in all."""
    workers: int


class Progress(TypedDict):
    """How far the run is; sent with every line of training metrics."""

    kind: Literal["progress"]
    step: int
    steps: int
    rows_per_s: float
    """Rows over all workers."""
    eta_s: float | None
    """Seconds to the last step; None while that is not known."""
    losses: Mapping[str, float]
    """Loss by task; tasks without a valid label may be missing."""


class Eval(TypedDict):
    """An evaluation was made."""

    kind: Literal["eval"]
    step: int
    split: str
    tasks: Mapping[str, Mapping[str, float]]


class Commit(TypedDict):
    """A checkpoint was committed."""

    kind: Literal["commit"]
    step: int
    uri: str


class Notice(TypedDict):
    """Something worth a line of its own: a warning, a restart, what a user's code printed."""

    kind: Literal["notice"]
    text: str


Event = Start | Progress | Eval | Commit | Notice
AnyEvent = Mapping[str, Any]
"""What consumers take: events of kinds that they do not know are passed over."""


def notice(text: str) -> Notice:
    """A notice event."""
    return {"kind": "notice", "text": text}
