"""From a run file to everything that can be known before the first step, without torch and without other workers.

Every worker does this for itself and gets the same: it follows from the run file and the sources' digests alone.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from distmtl.config.environment import resolve_env
from distmtl.config.launch import CacheSpec
from distmtl.config.run import RunConfig
from distmtl.config.validate import require_consistency
from distmtl.data.describe import describe_inputs
from distmtl.data.labels import describe_label
from distmtl.data.manifest import TRAIN
from distmtl.data.mixture import Mixture
from distmtl.data.node_cache import NodeCache, default_folder
from distmtl.data.source import Source, open_source
from distmtl.data.transforms.files import file_hashes
from distmtl.errors import ConfigError, InputError, SourceError
from distmtl.features import InputGroup, LabelInfo
from distmtl.sampling.base import Sampler, SourceSize, State, Statistics
from distmtl.sampling.build import build_sampler

VALID = "valid"
"""The split that evaluations during training, early stopping and ``keep_best`` look at."""


@dataclass(frozen=True)
class Prepared:
    """A run, ready to start.

    Attributes:
        config: The run file with its references to the environment expanded. Store the one that was given instead.
        sources: The opened sources by name, in the run's order.
        groups: The inputs of the trunk: the same for every source, with merged statistics and vocabularies.
        labels: What each task's target looks like over the train split, by task name.
        steps: Steps of the run.
        sampler: What decides the mixture.
        sampler_state: Its state after the first decision.
        mixture: The mixture log as it is before the first step.
    """

    config: RunConfig
    sources: Mapping[str, Source]
    groups: tuple[InputGroup, ...]
    labels: Mapping[str, LabelInfo]
    steps: int
    sampler: Sampler
    sampler_state: State
    mixture: Mixture

    @property
    def digests(self) -> dict[str, str]:
        """The version of each source, by name; a run pins them when it begins."""
        return {name: source.manifest.digest for name, source in self.sources.items()}

    @property
    def files(self) -> dict[str, str]:
        """Hash of each file that transforms read, by its key in the run file; a run pins them when it begins."""
        return {
            f"sources.{name}.transforms.{key}": found
            for name, spec in self.config.sources.items()
            for key, found in file_hashes(spec.transforms).items()
        }

    @property
    def sizes(self) -> tuple[SourceSize, ...]:
        """The sources as a sampler sees them."""
        return source_sizes(self.sources)


def prepare(config: RunConfig, digests: Mapping[str, str] | None = None) -> Prepared:
    """Open and describe all that a run reads, and decide its length and its first mixture.

    Args:
        config: The run file, with or without references to the environment.
        digests: Versions of sources by name, of a run that is gone on with; by default the newest.

    Raises:
        ConfigError: The run file is at odds with itself, with its sources, or with the environment.
        SourceError: A source is missing or damaged, or a column or label cannot be used.
        StoreError: A source cannot be reached.
    """
    require_consistency(config)
    config = resolve_env(config)
    sources = open_sources(config, digests or {})
    groups = common_groups(config, sources)
    labels = describe_labels(config, sources)
    _check_scores(config, sources)
    sampler = build_sampler(config.sampling)
    sizes = source_sizes(sources)
    weights, state = sampler.update(Statistics({}), sampler.init(sizes), 0)
    named = dict(zip(sources, weights, strict=True))
    mixture = Mixture.constant(named, rows=config.batch.rows, per=config.sampling.per)
    steps = run_steps(config, sum(size.rows for size in sizes))
    return Prepared(config, sources, groups, labels, steps, sampler, state, mixture)


def require_files(prepared: Prepared, facts: Mapping[str, Any]) -> None:
    """Refuse to go on with other files than those that a run began with.

    Args:
        prepared: The run.
        facts: What its checkpoint says of it.

    Raises:
        ConfigError: A file that a transform reads has changed.
    """
    now = prepared.files
    for key, was in facts.get("files", {}).items():
        if now.get(key, was) != was:
            raise ConfigError(
                "the file is another than the one that the run was trained with.",
                key,
                "Restore it, or start a new run with it.",
            )


def open_sources(config: RunConfig, digests: Mapping[str, str]) -> dict[str, Source]:
    """The sources by name, in the run's order.

    Raises:
        SourceError: One is missing, damaged, or has no row to train on.
        StoreError: One cannot be reached.
    """
    sources = {}
    cache = node_cache(config.launch.cache)
    for name, spec in config.sources.items():
        with _key(f"sources.{name}.uri"):
            source = open_source(spec.uri, digests.get(name), cache)
            if source.split(TRAIN).rows == 0:
                raise SourceError("split 'train' has no rows.", source.uri, "Pack it again with rows to train on.")
            sources[name] = source
    return sources


def node_cache(spec: CacheSpec) -> NodeCache | None:
    """Where this node keeps blocks of remote sources; None for nowhere."""
    return NodeCache(spec.folder or default_folder(), spec.bytes) if spec.bytes else None


def common_groups(config: RunConfig, sources: Mapping[str, Source]) -> tuple[InputGroup, ...]:
    """The input groups of the trunk, which all sources feed.

    Raises:
        ConfigError: Sources name other groups or other columns, or their columns differ in kind.
        SourceError: A column is missing or cannot be used.
    """
    with _key("sources"):
        inputs = describe_inputs(sources, config.sources)
    first, *others = inputs
    wanted = {group.name: group for group in inputs[first]}
    for name in others:
        found = {group.name: group for group in inputs[name]}
        for group in {**wanted, **found}:
            if group not in found or group not in wanted:
                has, lacks = (first, name) if group in wanted else (name, first)
                raise ConfigError(
                    f"source '{has}' has an input group '{group}' and source '{lacks}' has none.",
                    f"sources.{lacks}.inputs",
                    "All sources feed one trunk: give them the same groups of the same columns.",
                )
            _same_columns(wanted[group], found[group], first, name)
    return inputs[first]


def _same_columns(wanted: InputGroup, found: InputGroup, first: str, name: str) -> None:
    ours, theirs = ({column.name for column in group.columns} for group in (wanted, found))
    for column in sorted(ours ^ theirs):
        has, lacks = (first, name) if column in ours else (name, first)
        raise ConfigError(
            f"column '{column}' is an input of source '{has}' and not of source '{lacks}'.",
            f"sources.{lacks}.inputs.{wanted.name}",
            "All sources feed one trunk: give the group the same columns.",
        )


def describe_labels(config: RunConfig, sources: Mapping[str, Source]) -> dict[str, LabelInfo]:
    """What each task's target looks like over the train split.

    Raises:
        SourceError: A target is missing, or its values do not fit the task's kind.
    """
    labels = {}
    for name, task in config.tasks.items():
        with _key(f"tasks.{name}.target"):
            labels[name] = describe_label(sources[task.source].split(TRAIN), task.target, task.kind)
            for other, label in labels.items():
                same = (config.tasks[other].source, config.tasks[other].target) == (task.source, task.target)
                if same and label != labels[name]:
                    raise ConfigError(
                        f"column '{task.target}' is read as {task.kind} here and otherwise by task '{other}'.",
                        remedy="Pack the column twice, under two names.",
                    )
    return labels


def run_steps(config: RunConfig, rows: int) -> int:
    """Steps of a run over sources with so many train rows together: passes * rows / rows per step, rounded up."""
    if config.train.steps is not None:
        return config.train.steps
    # Through its decimal digits: 0.1 passes of 10,240 rows are one step of 1,024, not two.
    return math.ceil(Fraction(str(config.train.passes)) * rows / config.batch.rows)


def source_sizes(sources: Mapping[str, Source]) -> tuple[SourceSize, ...]:
    """Name and train rows of every source, in order."""
    return tuple(SourceSize(name, source.split(TRAIN).rows) for name, source in sources.items())


def valid_rows(source: Source) -> int:
    """Rows of the valid split; 0 where there is none."""
    return source.split(VALID).rows if VALID in source.manifest.splits else 0


def _check_scores(config: RunConfig, sources: Mapping[str, Source]) -> None:
    """What decides on stopping and keeping can be measured on the valid split."""
    scores = {}
    if config.train.early_stop is not None:
        scores["train.early_stop.metric"] = config.train.early_stop.metric
    if config.checkpoint.keep_best is not None:
        scores["checkpoint.keep_best.metric"] = config.checkpoint.keep_best.metric
    measured = {name for name, task in config.tasks.items() if valid_rows(sources[task.source])}
    for key, score in scores.items():
        task = score.split("/")[0]
        if not measured or (task in config.tasks and task not in measured):
            raise ConfigError(
                f"'{score}' cannot be measured: its source has no rows in split 'valid'.",
                key,
                "Pack the source with a valid split, or remove the key.",
            )


@contextmanager
def _key(key: str) -> Iterator[None]:
    """Put the key of the run file before the place that an error names."""
    try:
        yield
    except InputError as error:
        where = error.where if error.where.startswith(key) else f"{key}: {error.where}".rstrip(": ")
        raise type(error)(error.what, where, error.remedy) from error
