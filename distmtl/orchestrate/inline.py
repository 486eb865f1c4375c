"""One worker, in this process."""

from distmtl.observe.console import Console
from distmtl.orchestrate.job import Job, Work, run_job
from distmtl.orchestrate.messages import Inbox, Message
from distmtl.orchestrate.signals import StopSignals
from distmtl.orchestrate.worker_runtime import WorkerRuntime
from distmtl.training.result import RunResult


def run(job: Job, console: Console, work: Work = run_job) -> RunResult:
    """Do a job in this process. Errors pass through as they were raised."""
    from distmtl.parallel.process_group import pick_device
    from distmtl.parallel.world import Solo

    inbox = Inbox(console)

    def receive(message: Message) -> None:
        inbox.receive([message])

    with StopSignals() as stop:
        world = Solo(pick_device(job.config.train.device))
        return work(job, WorkerRuntime(world, "inline", stop.is_requested, receive))
