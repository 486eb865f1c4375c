"""A worker's line to whoever started it, the same for all runtimes."""

import os
import socket
from collections.abc import Callable, Mapping
from typing import Any

from distmtl.orchestrate.messages import Committed, Emitted, Message
from distmtl.parallel.world import World


class WorkerRuntime:
    """``distmtl.training.runtime.Runtime`` over two functions: one that is asked, one that is told.

    Args:
        world: The workers of this attempt.
        kind: "inline", "torchrun" or "ray".
        stop_requested: Whether somebody asked this worker to stop; cheap.
        send: Takes a message; neither blocks nor raises.
    """

    def __init__(
        self, world: World, kind: str, stop_requested: Callable[[], bool], send: Callable[[Message], None]
    ) -> None:
        self.world = world
        self.owner = f"{kind} on {socket.gethostname()}, process {os.getpid()}"
        self.stop_requested = stop_requested
        self._send = send

    def emit(self, event: Mapping[str, Any]) -> None:
        """Show an event; worker 0 speaks for all."""
        if self.world.rank == 0:
            self._send(Emitted(event))

    def committed(self, uri: str, step: int, metrics: Mapping[str, float]) -> None:
        """Report a commit; worker 0 speaks for all."""
        if self.world.rank == 0:
            self._send(Committed(uri, step, metrics))
