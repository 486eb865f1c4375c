"""Run-file model of the launch section: where a run happens. Nothing here changes its result."""

from typing import Literal

from pydantic import Field

from distmtl.spec import Spec


class CacheSpec(Spec):
    """Blocks of remote sources on each node's disk, where all its workers and later runs find them."""

    folder: str | None = None
    """A folder on a local disk; by default what DISTMTL_CACHE_DIR says, else ~/.cache/distmtl/blocks."""
    bytes: int = Field(default=16 * 2**30, ge=0)
    """Most bytes that it may hold; the least recently used blocks leave first. 0 keeps none."""


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
    cache: CacheSpec = CacheSpec()
    """Where each node keeps blocks of sources that are not on it."""
