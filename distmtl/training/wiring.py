"""Putting a step together: the trunk in its strategy, the balancer in its route, the optimizer on what came of both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh

from distmtl.balancing.base import Balancer
from distmtl.balancing.build import Asking
from distmtl.checkpoint.sharding import fill
from distmtl.models.base import MultiTaskModel
from distmtl.models.blocks import checkpoint_activations, trunk_blocks
from distmtl.models.deferred import Deferred
from distmtl.parallel.ddp import wrap_ddp
from distmtl.parallel.fsdp import ShardMatrix, build_mesh, copies_of, shard_spans, shard_trunk
from distmtl.parallel.gradient_matrix import FlatMatrix
from distmtl.parallel.sketch import GradientSketch, whole_spans
from distmtl.parallel.specs import ParallelSpec
from distmtl.parallel.world import World
from distmtl.training.ema import MovingAverage
from distmtl.training.facts import TaskPlace
from distmtl.training.forward import LossPass, SharedPass
from distmtl.training.loss_scale import LossScale
from distmtl.training.optim import build_optimizer
from distmtl.training.routes import ExactRoute, FeatureRoute, Route, SketchRoute
from distmtl.training.specs import AdamWSpec, SgdSpec
from distmtl.training.step import StepSettings, TrainStep
from distmtl.training.task_gradients import TaskPasses
from distmtl.training.weighing import Weigher


@dataclass(frozen=True)
class StepPlan:
    """Everything that a step follows from, besides the model and the workers.

    Attributes:
        places: The tasks, and where their labels are.
        balancer: Weighs them.
        asking: How it gets to know of a step.
        parallel: How parameters are spread.
        optim: The optimizer.
        seed: The run's seed.
        precision: fp32, bf16, fp16 or fp64.
        riding: Tasks whose heads every step touches.
        objective: task_mean or row_mean.
        micro_rows: Most rows of a forward pass.
        pads: What fills up sequences, by input group.
        compile: Whether the trunk is compiled.
        ema: What a moving average of the parameters keeps of itself; None: there is none.
    """

    places: tuple[TaskPlace, ...]
    balancer: Balancer
    asking: Asking
    parallel: ParallelSpec
    optim: AdamWSpec | SgdSpec
    seed: int
    precision: str
    riding: Sequence[str] = ()
    objective: str = "task_mean"
    micro_rows: int | None = None
    pads: Mapping[str, float] = field(default_factory=dict)
    compile: bool = False
    ema: float | None = None


def wire_step(model: MultiTaskModel, plan: StepPlan, world: World) -> TrainStep:
    """A step over a model that lies on the worker's device; a collective. The model is changed in place.

    Raises:
        ConfigError: The workers or the trunk do not allow the strategy.
    """
    sharded = plan.parallel.strategy != "ddp" and world.size > 1
    on_loss = plan.asking.route == "loss"
    blocks = trunk_blocks(model.trunk)
    if plan.parallel.activation_checkpointing:
        for block in blocks or (model.trunk,):
            checkpoint_activations(block)
    mesh = None
    if sharded:
        mesh = build_mesh(plan.parallel, world)
        half = torch.bfloat16 if plan.precision == "bf16" else None
        deferred = Deferred(model.trunk, plan.seed)
        shard_trunk(model.trunk, blocks, plan.parallel, mesh, half)
        deferred.fill(model.trunk, torch.device("cpu") if plan.parallel.cpu_offload else world.device, fill)
    if plan.compile:
        _compile(model.trunk)
    riding = tuple(plan.riding) if on_loss and not sharded else ()
    shared: nn.Module = SharedPass(model, riding)
    if not sharded and (plan.asking.route != "exact" or plan.asking.update_every > 1):
        shared = wrap_ddp(shared, plan.parallel, world)
    averaged = world.size if sharded or not isinstance(shared, SharedPass) else 1
    forward = LossPass(model, shared, plan.places, plan.seed, plan.precision, plan.pads)
    weigher = Weigher(plan.balancer, plan.asking.update_every, plan.seed)
    optimizer = build_optimizer(plan.optim, model)
    return TrainStep(
        forward,
        frozenset(riding),
        weigher,
        None if on_loss else _route(plan, forward, weigher, world, mesh),
        optimizer,
        LossScale(world, enabled=plan.precision == "fp16"),
        world,
        StepSettings(plan.objective, plan.optim.clip_norm, plan.micro_rows, averaged, even=sharded),
        ema=None if plan.ema is None else MovingAverage(model, plan.ema),
    )


def _compile(trunk: nn.Module) -> None:
    """Compile the trunk in place, such that one forward pass may be differentiated several times, once for each task.

    A compiled backward pass otherwise uses up the memory of what the forward pass kept, and refuses a second call.
    """
    from torch._functorch import config

    config.donated_buffer = False
    trunk.compile()


def _route(plan: StepPlan, forward: LossPass, weigher: Weigher, world: World, mesh: DeviceMesh | None) -> Route:
    passes = TaskPasses(forward, world, plan.micro_rows)
    if plan.asking.route == "features":
        return FeatureRoute(passes, weigher, world)
    trunk = [(name, p) for name, p in forward.model.trunk.named_parameters() if p.requires_grad]
    if plan.asking.route == "exact":
        tasks = len(plan.places)
        matrix = FlatMatrix(trunk, tasks, world) if mesh is None else ShardMatrix(trunk, tasks, mesh)
        return ExactRoute(passes, matrix, weigher, world, plan.seed)
    spans = whole_spans(trunk) if mesh is None else shard_spans(trunk)
    copies, averaged = (1, 1) if mesh is None else (copies_of(mesh), world.size)
    sketch = GradientSketch([p for _, p in trunk], spans, len(plan.places), plan.asking.sketch_size, copies)
    return SketchRoute(passes, sketch, weigher, world, plan.seed, averaged, list(forward.model.private.parameters()))
