"""A worker that torchrun started: by our own driver (``main``), or by somebody's script (``run_here``)."""

import contextlib
import os
import pickle
import sys
import threading
from pathlib import Path
from typing import NoReturn

from distmtl.observe.console import Console, Silent
from distmtl.orchestrate.control import ControlClient
from distmtl.orchestrate.failure import Failure
from distmtl.orchestrate.job import Job, Work, run_job
from distmtl.orchestrate.messages import Failed, Finished, Inbox, Joined, Message, Outbox
from distmtl.orchestrate.signals import StopSignals
from distmtl.orchestrate.worker_runtime import WorkerRuntime
from distmtl.parallel.process_group import pick_device, start_process_group, stop_process_group
from distmtl.parallel.world import World, current_world
from distmtl.training.result import RunResult


def run_here(job: Job, console: Console, work: Work = run_job) -> RunResult:
    """Do this process's share of a job; all processes of the group call it. Only worker 0 uses the console.

    Errors pass through as they were raised. SIGTERM and SIGINT ask this worker, and by the next step all of them,
    to stop after a checkpoint.
    """
    with StopSignals() as stop:
        world = _join(job)
        inbox = Inbox(console if world.rank == 0 else Silent())

        def receive(message: Message) -> None:
            inbox.receive([message])

        result = work(job, WorkerRuntime(world, "torchrun", stop.is_requested, receive))
        stop_process_group()
    return result


def main(arguments: list[str]) -> NoReturn:
    """Do this process's share of the job in a file, and tell the driver how it went.

    Args:
        arguments: The job file and the control socket.
    """
    job_file, control = map(Path, arguments)
    rank = int(os.environ["RANK"])
    stop = threading.Event()
    client = ControlClient(control, stop.set)
    client.send([Joined(rank, os.getpid())])
    outbox = Outbox(client.send)
    try:
        with StopSignals() as signals:
            assignment = pickle.loads(job_file.read_bytes())

            def stop_requested() -> bool:
                return stop.is_set() or signals.requested

            runtime = WorkerRuntime(_join(assignment.job), "torchrun", stop_requested, outbox.put)
            result = assignment.work(assignment.job, runtime)
            stop_process_group()
    except BaseException as error:  # whatever it is, the driver has to know
        outbox.put(Failed(Failure.of(error, rank)))
        outbox.close()
        _abandon()
    if rank == 0:
        outbox.put(Finished(result))
    client.leave()
    outbox.close()
    sys.exit(0)


def _join(job: Job) -> World:
    device = pick_device(job.config.train.device)
    start_process_group(device, job.config.parallel.timeout_s)
    return current_world(device)


def _abandon() -> NoReturn:
    """End without the interpreter's clean-up, which may wait for ever for the threads of a broken process group."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
