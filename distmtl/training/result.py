"""What a run ends with."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class RunResult:
    """The end of a run, as ``--json`` prints it.

    Attributes:
        run: URI of the run.
        step: Steps done, over all attempts.
        world_size: Workers of the last attempt.
        checkpoint: URI of the last committed checkpoint, or None.
        tasks: Metrics by task on ``split``.
        split: The split that ``tasks`` was measured on.
        stopped: Why the run ended: "done", "early_stop" or "interrupted".
        wall_s: Seconds from the start of this attempt.
    """

    run: str
    step: int
    world_size: int
    checkpoint: str | None
    tasks: Mapping[str, Mapping[str, float]]
    split: str = "valid"
    stopped: str = "done"
    wall_s: float = 0.0
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        values: dict[str, Any] = asdict(self)
        extra: dict[str, Any] = values.pop("extra")
        return values | extra
