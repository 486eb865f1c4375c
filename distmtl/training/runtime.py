"""What a training process needs to know of the one that started it."""

from collections.abc import Mapping
from typing import Any, Protocol

from distmtl.parallel.world import World


class Runtime(Protocol):
    """Who this worker is, and its line to whoever started it.

    Three implementations: in-process, torchrun, Ray. None of the methods is a collective.
    """

    @property
    def world(self) -> World:
        """The workers of this attempt."""
        ...

    @property
    def owner(self) -> str:
        """Host, process and runtime, for the attempt record."""
        ...

    def stop_requested(self) -> bool:
        """Whether somebody asked this worker to stop (a signal, the driver). Cheap: called every step."""
        ...

    def emit(self, event: Mapping[str, Any]) -> None:
        """Hand an event (progress, metrics, notice) to the console. Never blocks, never raises."""
        ...

    def committed(self, uri: str, step: int, metrics: Mapping[str, float]) -> None:
        """Tell the driver that a checkpoint is committed (called on every rank)."""
        ...
