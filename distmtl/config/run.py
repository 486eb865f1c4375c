"""The run file as one frozen model: the union of every part's own models."""

from pydantic import Field

from distmtl.balancing.loss_specs import EqualSpec
from distmtl.balancing.specs import BalancingSpec
from distmtl.checkpoint.specs import CheckpointSpec
from distmtl.config.launch import LaunchSpec
from distmtl.data.specs import BatchSpec, SourceSpec
from distmtl.models.specs import HardSharingSpec, ModelSpec
from distmtl.parallel.specs import ParallelSpec
from distmtl.sampling.specs import ProportionalSpec, SamplingSpec
from distmtl.spec import Named, Spec
from distmtl.tasks.specs import TaskSpec
from distmtl.training.specs import AdamWSpec, OptimSpec, TrainSpec


class RunConfig(Spec):
    """A run: what is learned, from what, how, and where it is kept."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Names the run in its store."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Everything random follows from it."""
    sources: Named[SourceSpec] = Field(min_length=1)
    """Packed data sets, by a name of your choice."""
    tasks: Named[TaskSpec] = Field(min_length=1)
    """What is predicted, by a name of your choice."""
    model: ModelSpec = HardSharingSpec()
    """Trunk and heads."""
    sampling: SamplingSpec = ProportionalSpec()
    """How the rows of a step are split over sources."""
    balancing: BalancingSpec = EqualSpec()
    """How the tasks' losses are weighed against each other."""
    batch: BatchSpec = BatchSpec()
    """The rows of a step and how they are read."""
    optim: OptimSpec = AdamWSpec()
    """The optimizer and its learning rate."""
    train: TrainSpec
    """How long to train, how exactly, and what to measure on the way."""
    parallel: ParallelSpec = ParallelSpec()
    """How workers share the work."""
    checkpoint: CheckpointSpec = CheckpointSpec()
    """When the run's state is kept, and which of it."""
    store: str = "runs"
    """Where runs are kept: a folder (relative to the working folder) or s3://, gs://, az://, memory:// ..."""
    launch: LaunchSpec = LaunchSpec()
    """Where the run happens."""
