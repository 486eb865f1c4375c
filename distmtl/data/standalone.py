"""A loader for anyone's PyTorch loop, without a run file."""

from collections.abc import Mapping
from typing import Literal

import torch

from distmtl.data.blocks import LoaderSource
from distmtl.data.describe import describe_inputs
from distmtl.data.labels import LabelKind, describe_label
from distmtl.data.loader import Loader
from distmtl.data.manifest import TRAIN
from distmtl.data.mixture import Mixture
from distmtl.data.plan import Layout, Plan
from distmtl.data.source import open_source
from distmtl.data.specs import BatchSpec, SourceSpec
from distmtl.data.transformed import open_rows


def open_loader(  # noqa: PLR0913 - each is one plain fact about the loop
    sources: Mapping[str, SourceSpec],
    targets: Mapping[str, Mapping[str, LabelKind]],
    batch: BatchSpec,
    *,
    weights: Mapping[str, int] | None = None,
    per: Literal["row", "step"] = "row",
    seed: int = 0,
    rank: int = 0,
    size: int = 1,
    start: int = 0,
    split: str = TRAIN,
    floats: torch.dtype = torch.float32,
    pin: bool = False,
) -> Loader:
    """Open sources and the loader of one worker's share of their rows.

    Args:
        sources: What to read, by name, as in a run file.
        targets: By source, the label columns and the kind of each.
        batch: Rows per step over all workers, lanes and windows, as in a run file.
        weights: Integer weight of each source in the mixture; by default its number of rows.
        per: Whether every step has rows of every source, or of one.
        seed: The order of the rows follows from it.
        rank: The worker.
        size: The number of workers.
        start: The first step.
        split: The split to read.
        floats: ``torch.float32`` or ``torch.float64``: dtype of numeric inputs, numeric labels and weights.
        pin: Whether batches lie in page-locked memory.

    Raises:
        ConfigError: A group mixes kinds of columns, or a weight is out of range.
        SourceError: A source, split or column is missing or cannot be used.
        StoreError: A source cannot be reached.
    """
    opened = {name: open_source(spec.uri) for name, spec in sources.items()}
    groups = describe_inputs(opened, sources)
    splits = {name: source.split(split) for name, source in opened.items()}
    readers = []
    for name, part in splits.items():
        train = opened[name].split(TRAIN)
        labels = {column: describe_label(train, column, kind) for column, kind in targets.get(name, {}).items()}
        readers.append(LoaderSource(name, part, *open_rows(name, part, sources[name], groups[name], labels, floats)))
    layouts = tuple(Layout.of(name, part) for name, part in splits.items())
    mixture = Mixture.constant(weights or {name: part.rows for name, part in splits.items()}, batch.rows, per)
    plan = Plan(layouts, batch.lanes, batch.window_blocks, seed)
    return Loader(
        readers,
        plan,
        mixture,
        rank,
        size,
        start,
        prefetch_bytes=batch.prefetch_bytes,
        pin=pin,
        transform_workers=batch.transform_workers,
    )
