"""Workers on this machine, started by torch's elastic launcher.

The launcher runs in a session of its own, so that Ctrl-C in a terminal reaches this process alone; this process asks
the workers to stop over the control socket. Restarts are ours, not the launcher's: it cannot tell a worker that was
killed from one whose input is wrong.
"""

import contextlib
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from distmtl.observe.console import Console
from distmtl.orchestrate.control import ControlServer
from distmtl.orchestrate.failure import exit_cause
from distmtl.orchestrate.job import Job, Work, run_job
from distmtl.orchestrate.messages import Inbox
from distmtl.orchestrate.signals import StopSignals
from distmtl.orchestrate.supervise import supervise
from distmtl.orchestrate.worker_environment import worker_environment
from distmtl.training.result import RunResult

POLL_S = 0.1
GRACE_S = 20.0
"""How long the others may take to end once a worker has failed or ended."""
SAVE_S = 600
"""How long the launcher lets workers save when somebody sends SIGTERM to it, in whole seconds."""


@dataclass(frozen=True)
class Assignment:
    """What a worker process reads from its job file."""

    job: Job
    work: Work


def run(job: Job, console: Console, work: Work = run_job) -> RunResult:
    """Do a job in ``launch.workers`` processes on this machine.

    Raises:
        DistmtlError: What a worker raised, or Interrupted, or TrainingStopped; see ``supervise``.
    """
    launch = job.config.launch

    def attempt(inbox: Inbox, stop: StopSignals) -> str:
        folder = Path(tempfile.mkdtemp(prefix="distmtl-"))
        try:
            return _attempt(folder, Assignment(job, work), inbox, stop)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    return supervise(attempt, launch.max_failures, console)


def _attempt(folder: Path, assignment: Assignment, inbox: Inbox, stop: StopSignals) -> str:
    launch = assignment.job.config.launch
    job_file, exit_file, control = folder / "job", folder / "exit", folder / "control"
    job_file.write_bytes(pickle.dumps(assignment))
    server = ControlServer(control)
    launcher = subprocess.Popen(
        _command(launch.workers, exit_file, [str(job_file), str(control)]),
        env=worker_environment(launch, dict(os.environ)),
        start_new_session=True,
    )
    try:
        _listen(server, launcher, inbox, stop)
    finally:
        server.close()
        _end(launcher)
    if not exit_file.exists():
        return ""
    rank, exit_code = exit_file.read_text(encoding="ascii").split()
    return exit_cause(int(rank), int(exit_code)) if int(exit_code) < 0 else ""


def _listen(server: ControlServer, launcher: subprocess.Popen[bytes], inbox: Inbox, stop: StopSignals) -> None:
    told = False
    ending: float | None = None
    while launcher.poll() is None:
        inbox.receive(server.receive(POLL_S))
        if stop.requested and not told:
            server.stop()
            told = True
            inbox.receive(server.drain())
            if not inbox.joined:
                return
        if ending is None and (inbox.failures or server.hung_up):
            ending = time.monotonic()
        if ending is not None and time.monotonic() > ending + GRACE_S:
            break
    inbox.receive(server.drain())


def _end(launcher: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(launcher.pid, signal.SIGKILL)
    launcher.wait()


def _command(workers: int, exit_file: Path, arguments: list[str]) -> list[str]:
    # fmt: off
    return [
        sys.executable, "-m", "distmtl.parallel.elastic", str(exit_file),
        "--standalone", "--local-addr", "127.0.0.1", "--nproc-per-node", str(workers), "--max-restarts", "0",
        "--shutdown-timeout", str(SAVE_S), "-m", "distmtl.orchestrate.torchrun_worker", *arguments,
    ]
    # fmt: on
