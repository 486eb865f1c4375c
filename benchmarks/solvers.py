"""How long the balancers of gradients take to find their weights from a Gramian, beside TorchJD, on one core.

Each Gramian is solved by ours and by TorchJD in turn. Three sorts of random gradients: lengths over two decades, over
six decades, and over two decades in T / 2 dimensions, so that combinations of them cancel; TorchJD gets the first sort,
where all of its solvers work. A method that TorchJD has no packages for here (``pip install 'torchjd[full]'``) is left
out on its side.

    python benchmarks/solvers.py [--check] [--quick]

``--check`` ends with 1 if a median at T = 40 is above its bound, on any sort. The last line is JSON.
"""

import argparse
import importlib
import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

TASKS = (8, 40)
SORTS = ("2 decades", "6 decades", "T/2 dims")
BOUNDS_MS = {"nash_mtl": 5.0, "fairgrad": 5.0, "upgrad": 20.0, "cagrad": 20.0}
"""Most milliseconds per call at T = 40."""
REPEATS, QUICK_REPEATS = 40, 8
SLOW_S = 0.2
"""TorchJD's methods that take longer per call are called a few times only."""
FEW = 5

Solve = Callable[[Any], object]
"""From gradients ``[T, P]`` and their Gramian ``[T, T]`` to weights."""


def main() -> int:
    """Measure, print a table and one JSON object; returns the exit code."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--check", action="store_true", help="exit 1 above the bounds")
    arguments.add_argument("--quick", action="store_true", help="fewer calls, under 60 s")
    options = arguments.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # NumPy is not loaded before this
    warnings.simplefilter("ignore")  # cvxpy and ECOS warn of inaccurate solutions
    ours, theirs = _ours(), _theirs()
    heads = "".join(f"{sort:>11}" for sort in SORTS)
    print(f"ms per call, medians\n{'method':12} {'T':>3} {heads} {'TorchJD':>9} {'ratio':>6} {'bound':>6}")
    results: dict[str, dict[str, Any]] = {}
    missed = []
    for name, tasks in ((name, tasks) for name in ours for tasks in TASKS):
        found = _measure(ours[name], theirs.get(name), tasks, QUICK_REPEATS if options.quick else REPEATS)
        bound = BOUNDS_MS.get(name) if tasks == max(TASKS) else None
        if bound is not None and max(found[sort] for sort in SORTS) > bound:
            missed.append(name)
        other = found.get("torchjd")
        cells = "".join(f"{found[sort]:11.2f}" for sort in SORTS)
        beside = f"{other:9.2f} {found[SORTS[0]] / other:6.2f}" if other is not None else f"{'-':>9} {'-':>6}"
        print(f"{name:12} {tasks:3} {cells} {beside} {'-' if bound is None else bound:>6}", flush=True)
        results[f"{name}/{tasks}"] = found
    print(json.dumps(results))
    return 1 if options.check and missed else 0


def _measure(ours: Solve, theirs: Solve | None, tasks: int, repeats: int) -> dict[str, float]:
    """Median milliseconds of ours on each sort, and of TorchJD on the first."""
    found = {}
    for sort in SORTS:
        times: list[float] = []
        others: list[float] = []
        other = theirs if sort == SORTS[0] else None
        for case in range(repeats + 1):  # the first is not counted
            rows = _gradients(case, tasks, sort)
            times.append(_seconds(ours, rows))
            if other is not None and not (len(others) > FEW and statistics.median(others) > SLOW_S):
                others.append(_seconds(other, rows))
        found[sort] = statistics.median(times[1:]) * 1e3
        if others:
            found["torchjd"] = statistics.median(others[1:]) * 1e3
    return found


def _seconds(solve: Solve, rows: Any) -> float:
    begun = time.perf_counter()
    solve(rows)
    return time.perf_counter() - begun


def _gradients(case: int, tasks: int, sort: str) -> Any:
    """A J ``[T, P]``, with its Gramian, in NumPy and in torch."""
    import numpy as np
    import torch

    generator = np.random.default_rng((SORTS.index(sort), tasks, case))
    rows = generator.standard_normal((tasks, tasks // 2 if sort == SORTS[2] else 2 * tasks + 2))
    reach = 3.0 if sort == SORTS[1] else 1.0
    rows *= (10.0 ** generator.uniform(-reach, reach, tasks) / np.linalg.norm(rows, axis=1))[:, None]
    gramian = rows @ rows.T
    return rows, gramian, torch.from_numpy(rows), torch.from_numpy(gramian)


def _ours() -> dict[str, Solve]:
    import numpy as np

    from distmtl.balancing.base import Balancer, StepView
    from distmtl.balancing.build import build_balancer
    from distmtl.balancing.gradient_specs import (
        AlignedMtlSpec,
        CaGradSpec,
        ConFigSpec,
        DualProjSpec,
        FairGradSpec,
        GradVacSpec,
        ImtlGSpec,
        MgdaSpec,
        NashMtlSpec,
        PcGradSpec,
        SdmGradSpec,
        UpGradSpec,
    )

    def solver(balancer: Balancer) -> Solve:
        def solve(given: Any) -> object:
            gramian = given[1]
            everyone = np.ones(len(gramian), dtype=bool)
            return balancer.weights(StepView(0, everyone, np.ones(len(gramian)), gramian), balancer.init(len(gramian)))

        return solve

    specs = (MgdaSpec, PcGradSpec, GradVacSpec, CaGradSpec, ImtlGSpec, NashMtlSpec, AlignedMtlSpec, FairGradSpec)
    more = (UpGradSpec, DualProjSpec, ConFigSpec, SdmGradSpec)
    return {spec().kind: solver(build_balancer(spec(), ())) for spec in (*specs, *more)}


def _theirs() -> Mapping[str, Solve]:
    """TorchJD's methods whose packages are installed."""
    try:
        jd = importlib.import_module("torchjd.aggregation")
    except ImportError:
        return {}
    import torch

    torch.set_num_threads(1)
    makers: dict[str, Solve] = {
        "mgda": lambda given: jd.MGDAWeighting()(given[3]),
        "pcgrad": lambda given: jd.PCGradWeighting()(given[3]),
        "gradvac": lambda given: jd.GradVacWeighting()(given[3]),
        "cagrad": lambda given: jd.CAGradWeighting(c=0.4)(given[3]),
        "imtl_g": lambda given: jd.IMTLGWeighting()(given[3]),
        "nash_mtl": lambda given: jd.NashMTL(n_tasks=len(given[2])).weighting(given[2]),
        "aligned_mtl": lambda given: jd.AlignedMTLWeighting()(given[3]),
        "fairgrad": lambda given: jd.FairGradWeighting(alpha=2.0)(given[3]),
        "upgrad": lambda given: jd.UPGradWeighting()(given[3]),
        "dualproj": lambda given: jd.DualProjWeighting()(given[3]),
        "config": lambda given: jd.ConFIG()(given[2]),
        "sdmgrad": lambda given: jd.SDMGradWeighting()(given[3]),
    }
    return {name: solve for name, solve in makers.items() if _works(solve)}


def _works(solve: Solve) -> bool:
    try:
        solve(_gradients(0, 2, SORTS[0]))
    except ImportError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
