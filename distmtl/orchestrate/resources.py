"""Whether there is what a run asks for."""

import os
import sys
from pathlib import Path

from distmtl.config.run import RunConfig
from distmtl.errors import ConfigError, ResourceError, StoreError


def check_resources(config: RunConfig) -> list[str]:
    """Refuse what cannot work on this machine, before anything is started.

    What a Ray cluster has is counted once it is joined.

    Returns:
        What works but is worth saying, as sentences.

    Raises:
        ConfigError: The in-process runtime is asked for several workers.
        StoreError: Workers in other processes could not see the store.
        ResourceError: There are fewer GPUs than workers, and ``train.device`` insists on them.
    """
    launch = config.launch
    if launch.runtime == "inline" and launch.workers > 1:
        raise ConfigError(
            f"runtime 'inline' runs 1 worker, not {launch.workers}.",
            where="launch.workers",
            remedy="Use runtime torchrun or ray, or 1 worker.",
        )
    if launch.runtime != "inline" and config.store.startswith("memory:"):
        raise StoreError(
            f"a memory:// store lives in one process, and runtime '{launch.runtime}' starts others.",
            where="store",
            remedy="Use a folder or an object store, or runtime inline.",
        )
    if launch.runtime == "ray" and joins_cluster():
        return []
    wants_gpus(config.train.device, launch.workers, count_gpus(), "this machine")
    return _shared_cores(launch.workers, launch.cpus_per_worker)


def joins_cluster() -> bool:
    """Whether there is a Ray cluster to join: RAY_ADDRESS names it, or this process is already connected to it."""
    ray = sys.modules.get("ray")
    return "RAY_ADDRESS" in os.environ or (ray is not None and ray.is_initialized())


def wants_gpus(device: str, workers: int, gpus: int, place: str) -> bool:
    """Whether workers compute on GPUs, one each.

    Args:
        device: ``train.device``.
        workers: Worker processes.
        gpus: GPUs there are.
        place: Where, for the message.

    Raises:
        ResourceError: "cuda" is asked for and there are too few.
    """
    if device == "cuda" and gpus < workers:
        raise ResourceError(
            f"{workers} workers with a GPU each were asked for, and {place} has {gpus} GPU{'' if gpus == 1 else 's'}.",
            where="launch.workers",
            remedy=f"Use at most {gpus} workers." if gpus else "Use train.device cpu or auto.",
        )
    return device != "cpu" and gpus >= workers


def count_gpus() -> int:
    """GPUs that this process may use. Does not load torch where there is no NVIDIA driver."""
    if not Path("/proc/driver/nvidia").exists() and not Path("/dev/nvidiactl").exists():
        return 0
    import torch

    return torch.cuda.device_count()


def _shared_cores(workers: int, cpus_per_worker: int) -> list[str]:
    cores = os.cpu_count() or 1
    if workers * cpus_per_worker <= cores:
        return []
    return [f"{workers} workers x {cpus_per_worker} cores share the {cores} cores of this machine, so they run slower"]
