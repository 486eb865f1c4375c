"""The environment variables of worker processes."""

import os
import socket
import sys
from pathlib import Path

from distmtl.config.launch import LaunchSpec


def worker_environment(launch: LaunchSpec, environment: dict[str, str]) -> dict[str, str]:
    """The environment of worker processes on this machine.

    They find the modules that this process finds, use as many cores as the run file grants, and talk over the
    loopback interface, which needs no name that resolves. What the user has set is left alone, save the cores.
    """
    defaults = {"GLOO_SOCKET_IFNAME": loopback()} if loopback() else {}
    paths = [path or str(Path.cwd()) for path in sys.path]
    settings = {"OMP_NUM_THREADS": str(launch.cpus_per_worker), "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}
    return defaults | environment | settings


def loopback() -> str:
    """Name of the loopback interface, or nothing where it has an unusual one."""
    names = {name for _, name in socket.if_nameindex()}
    return next((name for name in ("lo", "lo0") if name in names), "")
