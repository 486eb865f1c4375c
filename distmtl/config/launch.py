"""Run-file model of the launch section: where a run happens. Nothing here changes its result."""

from typing import Literal

from pydantic import Field

from distmtl.spec import Spec


class LaunchSpec(Spec):
    """What starts the workers and how many."""

    runtime: Literal["ray", "torchrun", "inline"] = "ray"
    """'ray' starts or joins a Ray cluster; 'torchrun' starts local processes; 'inline' runs in this process."""
    workers: int = Field(default=1, ge=1)
    """Worker processes; one per GPU where GPUs are used."""
    max_failures: int = Field(default=3, ge=0)
    """Restarts after a worker is lost before the run stops."""
    cpus_per_worker: int = Field(default=1, ge=1)
    """Cores that each worker's arithmetic may use."""
