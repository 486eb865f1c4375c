"""``evaluate``: measure a run's checkpoint on a split."""

import math
import time
from typing import Literal

from distmtl.checkpoint.commit import CheckpointRef, find, read_commit
from distmtl.checkpoint.reader import load
from distmtl.checkpoint.retention import score
from distmtl.checkpoint.run import RunStore, open_run_uri, read_record
from distmtl.config.load import parse_config
from distmtl.config.run import RunConfig
from distmtl.errors import CheckpointError, SourceError
from distmtl.orchestrate.assemble import assemble, eval_sources
from distmtl.orchestrate.prepare import prepare, require_files
from distmtl.orchestrate.session import measure
from distmtl.orchestrate.user_code import make_importable
from distmtl.parallel.process_group import pick_device
from distmtl.parallel.world import Solo
from distmtl.training.result import RunResult
from distmtl.training.state import load_average, load_model


def evaluate(run_uri: str, *, split: str = "test", step: int | Literal["best", "last"] = "last") -> RunResult:
    """Measure a trained run in this process; each row of the split counts once.

    Args:
        run_uri: Where the run is.
        split: The split of its sources, at the versions that it was trained on.
        step: A committed step, "last", or "best" by ``checkpoint.keep_best``.

    Raises:
        CheckpointError: There is no such run or checkpoint.
        SourceError: A source is gone, or none has the split.
    """
    began = time.monotonic()
    make_importable()
    run = open_run_uri(run_uri)
    config = parse_config(read_record(run).config)
    ref = choose_checkpoint(run, config, step)
    world = Solo(pick_device(config.train.device))
    state = load(run, ref, world)
    prepared = prepare(config, state.values["facts"]["digests"])
    require_files(prepared, state.values["facts"])
    assembled = assemble(prepared, world, trains=False)
    load_model(state, assembled.parts.model)
    load_average(state, assembled.parts.step)
    sources = eval_sources(prepared, split)
    if not sources:
        there = sorted({name for source in prepared.sources.values() for name in source.manifest.splits})
        raise SourceError(f"no source of the run has a split '{split}'.", run.uri, f"There are: {', '.join(there)}.")
    return RunResult(
        run=run.uri,
        step=ref.step,
        world_size=world.size,
        checkpoint=ref.uri,
        tasks=measure(prepared, assembled, sources, world),
        split=split,
        wall_s=time.monotonic() - began,
    )


def choose_checkpoint(run: RunStore, config: RunConfig, step: int | Literal["best", "last"]) -> CheckpointRef:
    """The checkpoint of a step, the last one, or the best by ``checkpoint.keep_best``.

    Raises:
        CheckpointError: There is none.
    """
    refs = find(run)
    if not refs:
        raise CheckpointError("the run has no checkpoint yet.", run.uri, "Train it first.")
    if step == "last":
        return refs[0]
    if step == "best":
        return _best(run, refs, config)
    for ref in refs:
        if ref.step == step:
            return ref
    steps = ", ".join(str(ref.step) for ref in refs)
    raise CheckpointError(f"there is no checkpoint of step {step}.", run.uri, f"There are: {steps}.")


def _best(run: RunStore, refs: list[CheckpointRef], config: RunConfig) -> CheckpointRef:
    spec = config.checkpoint.keep_best
    if spec is None:
        raise CheckpointError(
            "'best' needs a metric, and the run file has no checkpoint.keep_best.", run.uri, "Use --step last or N."
        )
    scored = [(score(read_commit(run, ref).metrics, spec.metric), ref) for ref in refs]
    known = [(value, ref) for value, ref in scored if value is not None and math.isfinite(value)]
    if not known:
        raise CheckpointError(f"no checkpoint has the metric '{spec.metric}'.", run.uri, "Use --step last or N.")
    return max(known)[1]
