"""What runs in each of Ray's worker processes."""

import contextlib
import io
import os
import pickle
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ray
import ray.train

from distmtl.observe.events import notice
from distmtl.orchestrate.failure import Failure
from distmtl.orchestrate.job import Job, Work
from distmtl.orchestrate.messages import Emitted, Failed, Finished, Joined, Message, Outbox
from distmtl.orchestrate.ray_channel import ABORTED, Order
from distmtl.orchestrate.worker_runtime import WorkerRuntime

POLL_S = 0.5


@dataclass(frozen=True)
class Assignment:
    """What each worker gets.

    Attributes:
        job: What to do.
        work: What does it.
        channel: The line to the driver.
        environment: Variables of the driver that are set here unless this host sets them itself.
        device: "cpu" or "cuda", the same for all workers.
    """

    job: Job
    work: Work
    channel: Any
    environment: Mapping[str, str]
    device: str


def run_assigned(pickled: Mapping[str, bytes]) -> None:
    """Do this worker's share of a job, in the process group that Ray has set up.

    Errors go to the driver in full; Ray only learns that there was one, and ends the other workers.

    Args:
        pickled: An Assignment, under "assignment". Ray's controller passes it on and must not have to import what
            is in it.
    """
    from distmtl.parallel.process_group import pick_device
    from distmtl.parallel.world import current_world

    assignment: Assignment = pickle.loads(pickled["assignment"])
    for name, value in assignment.environment.items():
        os.environ.setdefault(name, value)
    rank = ray.train.get_context().get_world_rank()
    _deliver(assignment.channel, [Joined(rank, os.getpid())])
    outbox = Outbox(lambda messages: _deliver(assignment.channel, messages))
    orders = _Orders(assignment.channel)
    try:
        world = current_world(pick_device(assignment.device))
        runtime = WorkerRuntime(world, "ray", orders.stop_requested, outbox.put)
        with contextlib.redirect_stdout(_Printed(outbox)):
            result = assignment.work(assignment.job, runtime)
        world.barrier()
    except BaseException as error:
        outbox.put(Failed(Failure.of(error, rank)))
        raise _WorkerFailedError(rank) from None
    else:
        if rank == 0:
            outbox.put(Finished(result))
    finally:
        outbox.close()
        orders.close()


class _WorkerFailedError(Exception):
    """Tells Ray to end the worker group."""


class _Printed(io.TextIOBase):
    """Standard output of a worker: whole lines go to the driver's console."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._line = ""

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self._outbox.put(Emitted(notice(line)))
        return len(text)


class _Orders:
    """Asks the channel for orders from a thread of its own, so that asking this costs nothing."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._order: Order = "go"
        self._closed = threading.Event()
        threading.Thread(target=self._ask, name="distmtl-orders", daemon=True).start()

    def stop_requested(self) -> bool:
        return self._order == "stop"

    def close(self) -> None:
        self._closed.set()

    def _ask(self) -> None:
        while not self._closed.wait(POLL_S):
            try:
                self._order = ray.get(self._channel.order.remote())
            except ray.exceptions.RayError:
                self._order = "abort"
            if self._order == "abort" and not self._closed.is_set():
                os._exit(ABORTED)


def _deliver(channel: Any, messages: list[Message]) -> None:
    ray.get(channel.put.remote(messages))
