"""Run-file models of the data part: sources and the batch."""

from pydantic import Field

from distmtl.data.transforms.specs import TransformSpec
from distmtl.spec import Named, Spec


class SourceSpec(Spec):
    """A packed source, and which of its columns the trunk reads."""

    uri: str
    """Where 'distmtl pack' put it. A relative path is relative to the file that names it."""
    inputs: Named[str | list[str]] = Field(min_length=1)
    """Input groups: a name and its column or columns; the columns of a group are of one kind."""
    transforms: tuple[TransformSpec, ...] = ()
    """What happens to rows before the trunk sees them, in order; 'inputs' then names the columns after the last."""
    weight: str | None = None
    """A numeric column that weighs the rows in every loss of this source."""


class BatchSpec(Spec):
    """How many rows make a step, and how they are read."""

    rows: int = Field(default=1024, ge=1)
    """Rows per step, over all workers and sources."""
    micro_rows: int | None = Field(default=None, ge=1)
    """Rows per forward pass on one worker; a larger share is cut and its gradients are accumulated."""
    lanes: int = Field(default=16, ge=1, le=65536)
    """Reading streams per source; part of the result. Use at least as many as the largest number of workers."""
    window_blocks: int = Field(default=4, ge=1)
    """Blocks per lane whose rows are shuffled together; part of the result."""
    prefetch_bytes: int = Field(default=256 * 2**20, ge=2**20)
    """Bytes that a worker may hold in prepared batches."""
    transform_workers: int = Field(default=0, ge=0, le=256)
    """Processes per worker that run transforms; 0: the loader's own thread does. The result is the same."""
