"""Small jobs for worker processes: each does with real collectives what a training run does in trouble."""

import os
import signal
import time
from pathlib import Path

import torch

from distmtl.config.run import RunConfig
from distmtl.errors import NonFiniteError, SourceError
from distmtl.orchestrate.job import Job
from distmtl.training.result import RunResult
from distmtl.training.runtime import Runtime


def config(folder: Path, runtime: str, workers: int, **launch: object) -> RunConfig:
    return RunConfig.model_validate(
        {
            "name": "job",
            "sources": {"s": {"uri": "data/s", "inputs": {"dense": ["x"]}}},
            "tasks": {"t": {"source": "s", "target": "y", "kind": "binary"}},
            "train": {"steps": 5, "device": "cpu"},
            "parallel": {"timeout_s": 30},
            "store": str(folder),
            "launch": {"runtime": runtime, "workers": workers, **launch},
        }
    )


def result(job: Job, runtime: Runtime, step: int = 5, stopped: str = "done", **extra: object) -> RunResult:
    return RunResult(job.config.store, step, runtime.world.size, None, {}, stopped=stopped, extra=extra)


def add_ranks(job: Job, runtime: Runtime) -> RunResult:
    """All-reduce, and say what this worker's surroundings are."""
    total = runtime.world.sum(torch.tensor(float(runtime.world.rank + 1)))
    runtime.emit({"kind": "start", "run": "r", "step": 0, "steps": 5, "workers": runtime.world.size})
    for step in range(1, 6):
        progress = {"kind": "progress", "step": step, "steps": 5, "rows_per_s": 1.0, "eta_s": 0.0, "losses": {"t": 0.1}}
        runtime.emit(progress)
    runtime.committed("uri", 5, {})
    surroundings = {"threads": os.environ.get("OMP_NUM_THREADS"), "folder": str(Path.cwd())}
    gathered = runtime.world.all_gather((os.getpid(), runtime.world.rank))
    return result(job, runtime, total=float(total), workers=gathered, **surroundings)


def fail_on_last(job: Job, runtime: Runtime) -> RunResult:
    """The last worker raises what a user's code raises, while the others wait for it."""
    _count_start(job, runtime)
    if runtime.world.rank == runtime.world.size - 1:
        raise ValueError("a bad transform")
    runtime.world.barrier()
    return result(job, runtime)


def bad_source(job: Job, runtime: Runtime) -> RunResult:
    """Every worker raises the same InputError."""
    _count_start(job, runtime)
    raise SourceError("there is no column 'x'.", where="data/s")


def diverge_on_first(job: Job, runtime: Runtime) -> RunResult:
    """Worker 0 stops for a loss that is not finite."""
    _count_start(job, runtime)
    if runtime.world.rank == 0:
        raise NonFiniteError("the loss is NaN.", where="step 3")
    runtime.world.barrier()
    return result(job, runtime)


def die_once(job: Job, runtime: Runtime) -> RunResult:
    """The last worker is killed in the first attempt; the second one goes on from there."""
    starts = _count_start(job, runtime)
    runtime.world.barrier()
    if starts == 1 and runtime.world.rank == runtime.world.size - 1:
        (Path(job.config.store) / "killed").write_text(str(time.monotonic()))
        os.kill(os.getpid(), signal.SIGKILL)
    runtime.world.barrier()
    (Path(job.config.store) / "again").write_text(str(time.monotonic()))
    return result(job, runtime, starts=starts)


def die_always(job: Job, runtime: Runtime) -> RunResult:
    """A worker is killed in every attempt."""
    _count_start(job, runtime)
    runtime.world.barrier()
    if runtime.world.rank == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    runtime.world.barrier()
    raise AssertionError("the other worker was killed")


def until_stopped(job: Job, runtime: Runtime) -> RunResult:
    """Step until all workers agree that a stop was requested."""
    folder = Path(job.config.store)
    (folder / f"pid-{runtime.world.rank}").write_text(str(os.getpid()))
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if runtime.world.sum(torch.tensor(float(runtime.stop_requested()))) > 0:
            runtime.committed("uri", 7, {})
            return result(job, runtime, step=7, stopped="interrupted")
        time.sleep(0.05)
    raise AssertionError("nobody asked to stop")


def print_and_stop(job: Job, runtime: Runtime) -> RunResult:
    """A user's own code may print."""
    print(f"printed by worker {runtime.world.rank}")  # noqa: T201
    return result(job, runtime)


def _count_start(job: Job, runtime: Runtime) -> int:
    folder = Path(job.config.store)
    mine = f"start-{runtime.world.rank}-"
    (folder / f"{mine}{time.monotonic_ns()}").touch()
    return len(list(folder.glob(f"{mine}*")))


def deaf(job: Job, runtime: Runtime) -> RunResult:
    """Note that a stop was requested, and go on."""
    folder = Path(job.config.store)
    (folder / f"pid-{runtime.world.rank}").write_text(str(os.getpid()))
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if runtime.stop_requested():
            (folder / "asked").touch()
        time.sleep(0.05)
    return result(job, runtime)
