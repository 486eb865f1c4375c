"""What every worker does: go on from where the run is, train, commit."""

import random
import time
from contextlib import ExitStack, closing

import numpy as np
import torch

from distmtl.checkpoint.agreement import on_first, together
from distmtl.checkpoint.resume import Start
from distmtl.checkpoint.resume import start as start_attempt
from distmtl.checkpoint.retention import sweep_orphans
from distmtl.checkpoint.run import RunStore, open_run
from distmtl.config.environment import resolve_env
from distmtl.observe.events import notice
from distmtl.orchestrate.assemble import Assembled, assemble, open_loader
from distmtl.orchestrate.job import Job
from distmtl.orchestrate.origin import Origin, allowed_changes, find_origin, same_balancer, write_record
from distmtl.orchestrate.prepare import Prepared, prepare, require_files
from distmtl.orchestrate.session import Session
from distmtl.orchestrate.user_code import make_importable
from distmtl.parallel.world import World
from distmtl.training.loop import Cadence, LoopParts, run_loop
from distmtl.training.pace import Pace
from distmtl.training.progress import Progress
from distmtl.training.reading import Reader
from distmtl.training.result import RunResult
from distmtl.training.runtime import Runtime
from distmtl.training.state import require_model, restore

MOST_STEPS_PER_EXCHANGE = 16


def run_worker(job: Job, runtime: Runtime) -> RunResult:
    """Train a run to its end on this worker; every worker of the world calls this, and gets the same result.

    Raises:
        InputError: Something that the user gave is wrong; no checkpoint was touched.
        NonFiniteError: A gradient became NaN or infinite.
    """
    began = time.monotonic()
    world = runtime.world
    make_importable(job.base)
    _settle_process(job, world)
    run = open_run(resolve_env(job.config).store, job.config.name)
    origin = on_first(world, lambda: find_origin(run, job.resume))
    prepared = together(world, lambda: _prepare(job, origin))
    for change in on_first(world, lambda: allowed_changes(job.config, origin, job.allow_change)):
        runtime.emit(notice(change))
    if origin is not None and job.resume == "auto" and origin.has_ended(prepared):
        return _already_ended(run, origin, world, began)
    assembled = assemble(prepared, world)
    if origin is not None:  # before the fence goes up, which would hide what the run has
        shapes = origin.shapes
        together(world, lambda: require_model(shapes, assembled.parts.model))
    start = start_attempt(run, world, runtime.owner, job.resume)
    on_first(world, lambda: write_record(run, job.config))
    for skipped in start.loaded.skipped if start.loaded else ():
        runtime.emit(notice(f"checkpoint {skipped.ref.uri} cannot be used: {skipped.reason}"))
    on_first(world, lambda: sweep_orphans(run, start.attempt))
    return _train(job, runtime, prepared, assembled, run, start, began)


def _prepare(job: Job, origin: Origin | None) -> Prepared:
    """The run, with the sources and files that it began with."""
    prepared = prepare(job.config, origin.digests if origin else None)
    if origin is not None:
        require_files(prepared, origin.values["facts"])
    return prepared


def _train(
    job: Job, runtime: Runtime, prepared: Prepared, assembled: Assembled, run: RunStore, start: Start, began: float
) -> RunResult:
    world = runtime.world
    config = prepared.config
    parts = assembled.parts
    progress = Progress()
    if start.loaded is not None:
        state = start.loaded.state
        kept = same_balancer(state.values["facts"]["config"], config)
        progress = together(world, lambda: restore(state, parts, same_balancer=kept))
        progress.ended = None
    with ExitStack() as open_things:
        ref = start.loaded.ref if start.loaded else None
        session = Session(job, runtime, prepared, assembled, run, start.attempt, ref)
        open_things.enter_context(closing(session))
        loader = open_things.enter_context(open_loader(prepared, assembled, world, progress.step))
        session.begin(progress.step)
        cadence = Cadence(prepared.steps, config.train.log_every, config.train.eval_every, config.checkpoint.every)
        stopped = run_loop(
            LoopParts(
                step=parts.step,
                batches=Reader(loader, parts.quarantine, world, lambda text: runtime.emit(notice(text))),
                places=assembled.places,
                mixer=parts.mixer,
                ledger=parts.ledger,
                pace=Pace(min(MOST_STEPS_PER_EXCHANGE, config.sampling.delay_steps), config.batch.prefetch_bytes),
                world=world,
                optim=config.optim,
                cadence=cadence,
                stop_requested=runtime.stop_requested,
                evaluate=session.evaluate,
                save=session.save,
                log=session.log,
            ),
            progress,
        )
    return RunResult(
        run=run.uri,
        step=progress.step,
        world_size=world.size,
        checkpoint=session.checkpoint.uri if session.checkpoint else None,
        tasks=progress.metrics,
        stopped=stopped,
        wall_s=time.monotonic() - began,
    )


def _already_ended(run: RunStore, origin: Origin, world: World, began: float) -> RunResult:
    progress = origin.values["progress"]
    return RunResult(
        run=run.uri,
        step=progress["step"],
        world_size=world.size,
        checkpoint=origin.ref.uri,
        tasks=progress["metrics"],
        stopped=progress["ended"] or "done",
        wall_s=time.monotonic() - began,
    )


def _settle_process(job: Job, world: World) -> None:
    """Threads and global generators. Nothing of distmtl draws from these; parts of the user's own may."""
    torch.set_num_threads(job.config.launch.cpus_per_worker)
    seed = (job.config.seed + world.rank) % 2**32
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = False
