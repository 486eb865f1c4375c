"""What a worker is asked to do."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from distmtl.config.run import RunConfig
from distmtl.training.result import RunResult

if TYPE_CHECKING:
    from distmtl.training.runtime import Runtime  # loads torch, which a process that starts others can do without


@dataclass(frozen=True)
class Job:
    """One start of a run, as every worker receives it.

    Attributes:
        config: The run file, resolved.
        resume: "auto" goes on from the last checkpoint if there is one, "never" begins anew, anything else is the
            URI of a checkpoint or run to go on from.
        allow_change: Keys of the run file that may differ from the run that is resumed.
        base: Folder of the run file; modules of the user's own are looked for there.
    """

    config: RunConfig
    resume: str = "auto"
    allow_change: tuple[str, ...] = ()
    base: str = ""


Work = Callable[[Job, "Runtime"], RunResult]
"""What each worker calls. It must be importable by name, because worker processes import it."""


def run_job(job: Job, runtime: "Runtime") -> RunResult:
    """The work of real runs: training. Imported late, because it loads torch."""
    from distmtl.orchestrate.worker import run_worker

    return run_worker(job, runtime)
