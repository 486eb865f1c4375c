"""What balancing costs a run, before it starts: the route, and its memory and traffic per worker."""

from torch import nn

from distmtl.balancing.build import build_balancer, choose_route
from distmtl.balancing.shards import ShardBalancer
from distmtl.models.base import MultiTaskModel
from distmtl.orchestrate.prepare import Prepared
from distmtl.orchestrate.report import RouteFacts
from distmtl.training.micro import most_micros


def shard_workers(prepared: Prepared) -> int:
    """How many workers share one copy of the trunk."""
    spec, workers = prepared.config.parallel, prepared.config.launch.workers
    if spec.strategy == "ddp":
        return 1
    return workers if spec.strategy == "fsdp" else spec.shard_size or workers


def route_facts(prepared: Prepared, model: MultiTaskModel, item_bytes: int) -> RouteFacts:
    """The route of a run and what it costs a worker; activations are not counted.

    Sent are the bytes that leave a worker in a step; a ring over W workers sends (W - 1) / W of what it adds up.

    Raises:
        ConfigError: The route cannot give the balancer what it needs.
    """
    config = prepared.config
    balancer = build_balancer(config.balancing, tuple(config.tasks))
    asking = choose_route(config.balancing, balancer, len({task.source for task in config.tasks.values()}))
    tasks, workers, shards = len(config.tasks), config.launch.workers, shard_workers(prepared)
    trunk = _trained(model.trunk) * item_bytes
    apart = (workers - 1) / workers
    passes = most_micros(config.batch.rows, workers, config.batch.micro_rows)
    ordinary = 2 * trunk * apart  # one backward pass: reduce-scatter and all-gather
    memory = 0.0
    sent = ordinary
    if asking.route == "exact":
        memories = len(balancer.memories) if isinstance(balancer, ShardBalancer) else 0
        held = shards if config.parallel.strategy != "ddp" else workers
        memory = (1 + memories) * tasks * trunk / held
        memory += 2 * trunk if held > 1 and config.parallel.strategy == "ddp" else 0  # what is sent and received
        # Every task's gradient is scattered once per micro-batch; FSDP gathers parameters for each backward pass too.
        gathers = tasks * passes if config.parallel.strategy != "ddp" else 1
        sent = (tasks * passes + gathers) * trunk * apart
    elif asking.route == "sketch":
        memory = tasks * asking.sketch_size * 8 + 5 * _trained(model.trunk) / shards  # signs and places of elements
        sent = ordinary + 2 * tasks * asking.sketch_size * 8 * apart
        if config.parallel.strategy != "ddp":  # the passes that are sketched are ordinary ones of FSDP
            sent += tasks * passes * 2 * trunk * apart
    if asking.update_every > 1:
        sent = (sent + (asking.update_every - 1) * ordinary) / asking.update_every
    return RouteFacts(asking.route, asking.reason, asking.update_every, round(memory), round(sent))


def memory_bytes(prepared: Prepared, model: MultiTaskModel, item_bytes: int) -> int:
    """What the balancer remembers of every element, over all workers: a part of each checkpoint."""
    balancer = build_balancer(prepared.config.balancing, tuple(prepared.config.tasks))
    memories = len(balancer.memories) if isinstance(balancer, ShardBalancer) else 0
    return memories * len(prepared.config.tasks) * _trained(model.trunk) * item_bytes


def _trained(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
