"""The model of a run before the run: its size, what of it is outside the update law, and how long a step takes."""

import os
import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from distmtl.config.run import RunConfig
from distmtl.data.batch import SourceBatch
from distmtl.data.manifest import TRAIN
from distmtl.data.stock import take_rows
from distmtl.data.transformed import open_rows
from distmtl.features import SequenceColumn, sequence_pads
from distmtl.models.base import MultiTaskModel
from distmtl.models.build import build_model
from distmtl.orchestrate.prepare import Prepared
from distmtl.orchestrate.report import MemoryFacts, Pace, RouteFacts
from distmtl.orchestrate.route_facts import memory_bytes, route_facts, shard_workers
from distmtl.tasks.kinds import Task, build_task
from distmtl.training.facts import TaskPlace
from distmtl.training.forward import LossPass, SharedPass
from distmtl.training.micro import cut, to_device
from distmtl.training.optim import build_optimizer
from distmtl.training.specs import AdamWSpec

_STEPS = 5
_LIMIT_S = 3.0
"""A rehearsal ends after this many steps, or this long."""

_FOREIGN = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)


def rehearse(prepared: Prepared) -> tuple[MemoryFacts, RouteFacts, Pace | None, list[str]]:
    """What the model and its balancing need, how fast it is here, and warnings about it.

    Raises:
        ConfigError: The model cannot be built from the run file.
    """
    config = prepared.config
    tasks = {name: build_task(name, spec, prepared.labels[name]) for name, spec in config.tasks.items()}
    with torch.device("meta"):
        model = _build(prepared, tasks)
    memory = memory_facts(prepared, model)
    route = route_facts(prepared, model, _item_bytes(config))
    warnings = foreign_modules(model)
    if config.train.precision == "fp16" and not torch.cuda.is_available():
        return memory, route, None, [*warnings, "train.precision fp16 needs CUDA, and there is none here."]
    if memory.total_bytes > _memory_bytes() / 2:
        return memory, route, None, [*warnings, "the model is too large to try a step on this machine."]
    return memory, route, measure_pace(prepared, tasks), warnings


def memory_facts(prepared: Prepared, model: MultiTaskModel) -> MemoryFacts:
    """What a worker holds."""
    config = prepared.config
    item_bytes = _item_bytes(config)
    trunk, private = (sum(p.numel() for p in part.parameters()) for part in (model.trunk, model.private))
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    share = -(-config.batch.rows // config.launch.workers)
    batch_bytes = share * _row_bytes(prepared, item_bytes)
    # Of a sharded trunk, a worker holds a share.
    held_trunk, moments = -(-trunk // shard_workers(prepared)), _moments(config)
    held_trained = trained - trunk + held_trunk
    average = 0 if config.train.ema is None else 1
    kept = memory_bytes(prepared, model, item_bytes) + average * trained * item_bytes  # beside parameters and moments
    return MemoryFacts(
        trunk_parameters=trunk,
        private_parameters=private,
        weights_bytes=(held_trunk + private + average * held_trained) * item_bytes,
        gradients_bytes=held_trained * item_bytes,
        optimizer_bytes=held_trained * item_bytes * moments,
        batch_bytes=batch_bytes,
        prefetch_bytes=min(config.batch.prefetch_bytes, batch_bytes * prepared.steps),
        balancing_bytes=route_facts(prepared, model, item_bytes).memory_bytes,
        model_bytes=(trunk + private + trained * moments) * item_bytes + kept,
    )


def foreign_modules(model: nn.Module) -> list[str]:
    """A warning for each module whose result depends on how rows are spread over workers."""
    return [
        f"module '{name}' ({type(module).__name__}) is outside the update law: "
        "its result depends on the number of workers."
        for name, module in model.named_modules()
        if isinstance(module, _FOREIGN)
    ]


def measure_pace(prepared: Prepared, tasks: Mapping[str, Task]) -> Pace:
    """Train a throw-away model for a few steps on the first rows of every source."""
    config = prepared.config
    on_gpu = config.train.device != "cpu" and torch.cuda.is_available()
    device = torch.device("cuda" if on_gpu else "cpu")
    floats = torch.float64 if config.train.precision == "fp64" else torch.float32
    model = _build(prepared, tasks).to(device, floats)
    places = tuple(
        TaskPlace(tasks[name], spec.source, spec.target, spec.weight, countable=False)
        for name, spec in config.tasks.items()
    )
    shared, pads = SharedPass(model, list(tasks)), sequence_pads(prepared.groups)
    forward = LossPass(model, shared, places, config.seed, config.train.precision, pads)
    optimizer = build_optimizer(config.optim, model)
    parts = tuple(to_device(part, device) for part in _share(prepared, floats))
    present = np.array([any(part.source == place.source for part in parts) for place in places])
    durations: list[float] = []
    with _threads(config.launch.cpus_per_worker):
        started = time.monotonic()
        for step in range(1 + _STEPS):
            begin = time.monotonic()
            for micro in cut(parts, config.batch.micro_rows):
                torch.autograd.backward(forward(micro, step, present).sum())
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            if on_gpu:
                torch.cuda.synchronize()
            durations.append(time.monotonic() - begin)
            if step and time.monotonic() - started > _LIMIT_S:
                break
    measured = durations[1:]  # the first one allocates
    step_s = statistics.median(measured)
    rows = sum(part.rows for part in parts)
    return Pace(step_s, len(measured), rows, device.type, step_s * prepared.steps)


def _share(prepared: Prepared, floats: torch.dtype) -> list[SourceBatch]:
    """As many rows of each source as a worker has of the first step, from its first block, repeated where needed."""
    config, parts, position = prepared.config, [], 0
    for name, quota in zip(prepared.sources, prepared.mixture.quotas(0), strict=True):
        rows = -(-quota // config.launch.workers)
        if not rows:
            continue
        split = prepared.sources[name].split(TRAIN)
        targets = {spec.target: prepared.labels[task] for task, spec in config.tasks.items() if spec.source == name}
        decoder, transform = open_rows(name, split, config.sources[name], prepared.groups, targets, floats)
        block = decoder.decode(split.read_block(0, decoder.columns))
        index = np.arange(rows) % block.rows
        share = take_rows(block, index, pin=False)
        if transform is not None:
            share = transform.apply(share, index)
        positions = torch.arange(position, position + rows)
        parts.append(SourceBatch(name, share.inputs, share.targets, share.weights, positions))
        position += rows
    return parts


def _build(prepared: Prepared, tasks: Mapping[str, Task]) -> MultiTaskModel:
    outputs = {name: task.outputs for name, task in tasks.items()}
    return build_model(prepared.config.model, prepared.groups, outputs, prepared.config.seed)


def _item_bytes(config: RunConfig) -> int:
    """Bytes of a parameter."""
    return 8 if config.train.precision == "fp64" else 4


def _moments(config: RunConfig) -> int:
    """Numbers that the optimizer keeps per parameter."""
    if isinstance(config.optim, AdamWSpec):
        return 2
    return 1 if config.optim.momentum else 0


def _row_bytes(prepared: Prepared, float_bytes: int) -> int:
    """Bytes of a row in a batch: inputs, labels, weight and position."""
    total = 8
    for group in prepared.groups:
        for column in group.columns:
            shape, dtype = getattr(column, "shape", ()), getattr(column, "dtype", None)
            own = np.dtype(dtype).itemsize if dtype else (8 if group.kind == "categorical" else float_bytes)
            longest = (column.max_length or 1) if isinstance(column, SequenceColumn) else 1
            total += int(np.prod(shape)) * own * longest
    labels = max(sum(task.source == name for task in prepared.config.tasks.values()) for name in prepared.sources)
    return total + 8 * labels + float_bytes


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
