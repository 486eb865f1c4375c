"""The actor between the driver and the workers of one attempt: messages one way, orders the other."""

from typing import Literal

import ray
from ray.actor import ActorHandle
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from distmtl.orchestrate.messages import Message

Order = Literal["go", "stop", "abort"]
"""To the workers: go on; stop after a checkpoint; end at once."""

ABORTED = 1
"""Exit code of a worker that ended at once."""


class Channel:
    """Holds messages until the driver takes them, and the order until the workers ask for it."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._order: Order = "go"

    def put(self, messages: list[Message]) -> None:
        """Leave messages for the driver."""
        self._messages += messages

    def take(self) -> list[Message]:
        """Every message since the last call."""
        taken, self._messages = self._messages, []
        return taken

    def give_order(self, order: Order) -> None:
        """Tell the workers what to do; they learn of it within half a second."""
        self._order = order

    def order(self) -> Order:
        """What the workers are to do."""
        return self._order


def open_channel() -> ActorHandle:
    """Start a channel on the driver's node; it ends with the driver."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(num_cpus=0, scheduling_strategy=here)(Channel).remote()
