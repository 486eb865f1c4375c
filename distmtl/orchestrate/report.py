"""What ``distmtl check`` finds out about a run, as plain data."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class SourceFacts:
    """A source and its part in the run.

    Attributes:
        name: Its name in the run file.
        uri: Where it is.
        digest: Its version.
        rows: Rows by split.
        size_bytes: Bytes of its shards.
        share: Its share of the rows of the first mixture.
        passes: How often the run goes over its train split with that mixture.
    """

    name: str
    uri: str
    digest: str
    rows: Mapping[str, int]
    size_bytes: int
    share: float
    passes: float


@dataclass(frozen=True)
class TaskFacts:
    """A task and its labels.

    Attributes:
        name: Its name in the run file.
        source: The source that holds its labels.
        target: The label column.
        kind: binary, multiclass or regression.
        missing: Share of rows without a label, by split.
        classes: Share of each class among the labels of the train split; empty for a regression.
        mean: Mean of the target over the train split.
        std: Its standard deviation.
        weight: Its weight in the run file.
        effective_weight: Weight x share of the steps that have a label of this task, were labels missing at random.
    """

    name: str
    source: str
    target: str
    kind: str
    missing: Mapping[str, float]
    classes: Mapping[str, float]
    mean: float
    std: float
    weight: float
    effective_weight: float


@dataclass(frozen=True)
class MemoryFacts:
    """What a worker holds, in bytes; activations and libraries are not known beforehand.

    Attributes:
        trunk_parameters: Numbers in the trunk.
        private_parameters: Numbers in heads and other modules of single tasks.
        weights_bytes: The parameters, and their moving average if there is one.
        gradients_bytes: Their gradients.
        optimizer_bytes: The optimizer's moments.
        batch_bytes: A worker's share of a step.
        prefetch_bytes: At most so much of coming steps.
        balancing_bytes: Task gradients, or what stands for them.
        model_bytes: What a checkpoint has of it: parameters, moments, average, and what a balancer remembers of each.
    """

    trunk_parameters: int
    private_parameters: int
    weights_bytes: int
    gradients_bytes: int
    optimizer_bytes: int
    batch_bytes: int
    prefetch_bytes: int
    balancing_bytes: int
    model_bytes: int

    @property
    def total_bytes(self) -> int:
        """All of it."""
        state = self.weights_bytes + self.gradients_bytes + self.optimizer_bytes + self.balancing_bytes
        return state + self.batch_bytes + self.prefetch_bytes

    @property
    def checkpoint_bytes(self) -> int:
        """Size of a checkpoint."""
        return self.model_bytes


@dataclass(frozen=True)
class RouteFacts:
    """How the balancer gets to know of a step, and what that costs a worker.

    Attributes:
        route: loss, exact, features or sketch.
        reason: Why this one.
        update_every: Steps between two questions to the balancer.
        memory_bytes: Held for it beyond one gradient, of the trunk alone.
        sent_bytes: Leave a worker in a step, on average: the trunk's gradients, however often.
    """

    route: str
    reason: str
    update_every: int
    memory_bytes: int
    sent_bytes: int


@dataclass(frozen=True)
class StoreFacts:
    """Where the run is going to be kept.

    Attributes:
        uri: The run's folder.
        writable: Whether an object could be put and deleted there.
        problem: Why not.
        found: What the store already has of this run; empty for a new run.
    """

    uri: str
    writable: bool
    problem: str
    found: str


@dataclass(frozen=True)
class Pace:
    """How long steps take: an estimate, from a few real ones with one worker's rows on this machine.

    Reading, talking to other workers, evaluations and checkpoints come on top.

    Attributes:
        step_s: Median seconds of a step.
        measured_steps: How many were measured.
        rows: Rows of each: a worker's share.
        device: Where.
        train_s: Seconds of the whole run at this pace.
    """

    step_s: float
    measured_steps: int
    rows: int
    device: str
    train_s: float


@dataclass(frozen=True)
class Report:
    """Everything that can be known of a run before a worker starts.

    Attributes:
        name: The run's name.
        config_hash: Hash of all that decides its result.
        steps: Its length.
        batch_rows: Rows of a step, over all workers.
        workers: How many workers share them.
        sources: Its sources, in order.
        tasks: Its tasks, in order.
        memory: What a worker holds.
        route: How the balancer gets to know of a step.
        store: Where it is going to be kept.
        pace: How long it takes; None where no step could be tried here.
        warnings: What works but is probably not meant, a sentence each.
    """

    name: str
    config_hash: str
    steps: int
    batch_rows: int
    workers: int
    sources: tuple[SourceFacts, ...]
    tasks: tuple[TaskFacts, ...]
    memory: MemoryFacts
    route: RouteFacts
    store: StoreFacts
    pace: Pace | None
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        values = asdict(self)
        values["memory"]["total_bytes"] = self.memory.total_bytes
        values["memory"]["checkpoint_bytes"] = self.memory.checkpoint_bytes
        return values
