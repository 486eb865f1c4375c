"""``train``: one function for every runtime."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from pydantic import ValidationError

from distmtl.config.launch import LaunchSpec
from distmtl.config.run import RunConfig
from distmtl.errors import ConfigError, Interrupted
from distmtl.observe.console import Console, Silent
from distmtl.observe.events import notice
from distmtl.orchestrate.job import Job, Work, run_job
from distmtl.orchestrate.preflight import preflight
from distmtl.orchestrate.resources import check_resources
from distmtl.training.result import RunResult

RuntimeName = Literal["ray", "torchrun", "inline"]


def train(
    config: RunConfig,
    *,
    resume: str = "auto",
    allow_change: Sequence[str] = (),
    runtime: RuntimeName | None = None,
    workers: int | None = None,
    base: str = "",
    console: Console | None = None,
    work: Work = run_job,
) -> RunResult:
    """Train a run to its end, wherever its run file says.

    In a process that torchrun has started, this is one of its workers, whatever the run file says of runtimes: call
    it in all of them.

    Args:
        config: The run file.
        resume: "auto" goes on from the run's last checkpoint if there is one, "never" begins anew, anything else is
            the URI of a checkpoint or run to go on from.
        allow_change: Keys of the run file that may differ from the run that is resumed.
        runtime: Instead of ``launch.runtime``.
        workers: Instead of ``launch.workers``.
        base: Folder of the run file; modules of the user's own are looked for there.
        console: Where progress is shown; nowhere by default.
        work: What each worker calls.

    Raises:
        InputError: Something that the user gave is wrong.
        Interrupted: The run was stopped by SIGINT, SIGTERM or its driver, after its checkpoint was committed.
        TrainingStopped: The failure policy stopped the run, or a loss became NaN or infinite.
        WorkerError: A worker raised an exception that is none of distmtl's.
    """
    if runtime == "inline" and workers is None:
        workers = 1  # all that this runtime has; the result is the same
    launch = _changed(config.launch, {"runtime": runtime, "workers": workers})
    job = Job(config.model_copy(update={"launch": launch}), resume, tuple(allow_change), base)
    console = console or Silent()
    try:
        result = _runtime(job, console, work)(job, console, work)
    finally:
        console.close()
    if result.stopped == "interrupted":
        raise Interrupted(f"The run was stopped after step {result.step}.", where=result.run)
    return result


def under_torchrun() -> bool:
    """Whether this process is one of several that torchrun, or something that speaks like it, has started."""
    return "TORCHELASTIC_RUN_ID" in os.environ or {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= os.environ.keys()


def _changed(launch: LaunchSpec, changes: Mapping[str, Any]) -> LaunchSpec:
    try:
        return LaunchSpec.model_validate(
            launch.model_dump() | {key: new for key, new in changes.items() if new is not None}
        )
    except ValidationError as error:
        problem = error.errors()[0]
        raise ConfigError(f"{problem['msg']}, not {problem['input']!r}.", where=f"launch.{problem['loc'][0]}") from None


def _runtime(job: Job, console: Console, work: Work) -> Callable[[Job, Console, Work], RunResult]:
    if under_torchrun():
        from distmtl.orchestrate import torchrun_worker

        return torchrun_worker.run_here
    for warning in check_resources(job.config):
        console.show(notice(warning))
    if job.config.launch.runtime != "inline" and work is run_job:
        preflight(job)
    match job.config.launch.runtime:
        case "inline":
            from distmtl.orchestrate import inline

            return inline.run
        case "torchrun":
            from distmtl.orchestrate import torchrun

            return torchrun.run
        case "ray":
            from distmtl.orchestrate import ray_driver

            return ray_driver.run
