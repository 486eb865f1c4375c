"""The one place that builds a training process from a run file; no part sees the whole of it."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from distmtl.balancing.base import Balancer
from distmtl.balancing.build import Asking, build_balancer, choose_route
from distmtl.checkpoint.agreement import together
from distmtl.config.hash import config_hash
from distmtl.config.run import RunConfig
from distmtl.data.blocks import LoaderSource
from distmtl.data.decode import Decoder
from distmtl.data.loader import Loader
from distmtl.data.manifest import TRAIN
from distmtl.data.plan import Layout, Plan
from distmtl.data.quarantine import Quarantine, QuarantinedSplit
from distmtl.data.transformed import SourceTransform, open_rows
from distmtl.features import InputGroup, LabelInfo, input_group_to_json, sequence_pads
from distmtl.models.base import MultiTaskModel
from distmtl.models.build import build_model
from distmtl.orchestrate.prepare import Prepared
from distmtl.parallel.world import World
from distmtl.tasks.kinds import build_task
from distmtl.training.facts import TaskPlace
from distmtl.training.ledger import Ledger
from distmtl.training.mixing import Mixer
from distmtl.training.state import Stateful
from distmtl.training.wiring import StepPlan, wire_step


@dataclass(frozen=True)
class Assembled:
    """A training process, built and not yet started."""

    parts: Stateful
    places: tuple[TaskPlace, ...]


def assemble(prepared: Prepared, world: World, *, trains: bool = True) -> Assembled:
    """Build model, optimizer, balancer and sampler of a run; a collective.

    Args:
        prepared: The run.
        world: The workers.
        trains: Whether steps are made; if not, nothing is held for task gradients.

    Raises:
        ConfigError: A part does not fit the others.
    """
    config = prepared.config

    def build() -> tuple[tuple[TaskPlace, ...], MultiTaskModel, Balancer, Asking]:
        places = task_places(config, prepared.labels)
        sharded = config.parallel.strategy != "ddp" and world.size > 1
        model = build_run_model(config, prepared.groups, places, world.device, defer=sharded)
        balancer = build_balancer(config.balancing, tuple(config.tasks))
        sources = len({place.source for place in places})
        asking = choose_route(config.balancing, balancer, sources)
        return places, model, balancer, asking if trains else Asking("loss", "no step is made")

    places, model, balancer, asking = together(world, build)
    plan = StepPlan(
        places,
        balancer,
        asking,
        config.parallel,
        config.optim,
        config.seed,
        config.train.precision,
        riding_tasks(prepared, places),
        config.train.objective,
        config.batch.micro_rows,
        sequence_pads(prepared.groups),
        config.train.compile,
        config.train.ema,
    )
    step = wire_step(model, plan, world)
    mixer = Mixer(
        prepared.sampler, prepared.mixture, prepared.sampler_state, places, config.sampling.delay_steps, world
    )
    quarantine = Quarantine(config.seed, config.train.quarantine.max_blocks)
    return Assembled(Stateful(model, step, mixer, Ledger(tuple(config.tasks), world), quarantine), places)


def build_run_model(
    config: RunConfig,
    groups: tuple[InputGroup, ...],
    places: tuple[TaskPlace, ...],
    device: torch.device,
    *,
    defer: bool = False,
) -> MultiTaskModel:
    """The run's model on a device, with its first values; with ``defer``, those of the trunk may come later."""
    outputs = {place.task.name: place.task.outputs for place in places}
    model = build_model(config.model, groups, outputs, config.seed, defer=defer)
    for part in model.to(float_type(config)).modules() if defer else ():
        if all(not parameter.is_meta for parameter in part.parameters(recurse=False)):
            part._apply(lambda tensor: tensor.to(device), recurse=False)
    return model if defer else model.to(device, float_type(config))


def float_type(config: RunConfig) -> torch.dtype:
    """Type of parameters and numeric inputs."""
    return torch.float64 if config.train.precision == "fp64" else torch.float32


def task_places(config: RunConfig, labels: Mapping[str, LabelInfo]) -> tuple[TaskPlace, ...]:
    """The tasks in the run's order, and where their labels are."""
    return tuple(
        TaskPlace(
            build_task(name, spec, labels[name]),
            spec.source,
            spec.target,
            spec.weight,
            complete=labels[name].nulls == 0,
            countable=labels[name].nulls == 0 and config.sources[spec.source].weight is None,
            weighted=config.sources[spec.source].weight is not None,
        )
        for name, spec in config.tasks.items()
    )


def riding_tasks(prepared: Prepared, places: tuple[TaskPlace, ...]) -> tuple[str, ...]:
    """Tasks whose source has rows in about every step, going by the first mixture.

    Riding is a matter of speed alone: a task that is absent from a step is left alone wherever its head stands. Counts
    of rows stay within a few of their share (one for each halving of the list of sources, at either end of the step).
    """
    mixture = prepared.mixture
    deviation = 2 * math.ceil(math.log2(len(mixture.sources)))
    shares = mixture.shares(0)
    if mixture.per == "step" and len(shares) > 1:
        return ()
    riding = {name for name, share in shares.items() if share * mixture.rows > deviation}
    return tuple(place.task.name for place in places if place.source in riding)


def open_loader(prepared: Prepared, assembled: Assembled, world: World, start: int) -> Loader:
    """A loader of this worker's share of the steps from ``start`` on."""
    config, mixer = prepared.config, assembled.parts.mixer
    sources = [
        LoaderSource(
            name,
            QuarantinedSplit(name, source.split(TRAIN), assembled.parts.quarantine),
            *_rows(prepared, name, TRAIN),
        )
        for name, source in prepared.sources.items()
    ]
    layouts = tuple(Layout.of(name, source.split(TRAIN)) for name, source in prepared.sources.items())
    plan = Plan(layouts, config.batch.lanes, config.batch.window_blocks, config.seed)
    return Loader(
        sources,
        plan,
        mixer.mixture,
        rank=world.rank,
        size=world.size,
        start=start,
        horizon=mixer.horizon(start),
        prefetch_bytes=config.batch.prefetch_bytes,
        pin=world.device.type == "cuda",
        transform_workers=config.batch.transform_workers,
    )


def eval_sources(prepared: Prepared, split: str) -> list[LoaderSource]:
    """The sources that have a split of this name."""
    return [
        LoaderSource(name, source.split(split), *_rows(prepared, name, split))
        for name, source in prepared.sources.items()
        if split in source.manifest.splits
    ]


def _rows(prepared: Prepared, source: str, split: str) -> tuple[Decoder, SourceTransform | None]:
    config = prepared.config
    targets = {task.target: prepared.labels[name] for name, task in config.tasks.items() if task.source == source}
    part = prepared.sources[source].split(split)
    return open_rows(source, part, config.sources[source], prepared.groups, targets, float_type(config))


def run_facts(prepared: Prepared, given: RunConfig) -> dict[str, Any]:
    """What a reader of a checkpoint needs besides the state: it makes the model usable without the sources."""
    return {
        "config": given.model_dump(mode="json"),  # as it was given: references to the environment stay references
        "config_hash": config_hash(given),
        "digests": prepared.digests,
        "files": prepared.files,
        "inputs": [input_group_to_json(group) for group in prepared.groups],
        "labels": {name: asdict(label) for name, label in prepared.labels.items()},
    }
