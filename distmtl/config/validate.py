"""What must hold between the parts of a run file, and needs no data to be known.

Each rule is a function from the config to its findings, and :data:`RULES` is all of them.
"""

import re
from collections.abc import Callable, Iterator

from distmtl.config.problems import Finding, KeyPath, Problem, raise_problems, unknown
from distmtl.config.run import RunConfig
from distmtl.tasks.specs import LOSSES, METRICS, Metric, TaskSpec

_NAME = re.compile(r"[A-Za-z0-9_-]+")


def check_consistency(config: RunConfig) -> list[Finding]:
    """The findings of every rule, in their order."""
    return [finding for rule in RULES for finding in rule(config)]


def require_consistency(config: RunConfig) -> None:
    """For configs that were built in a program rather than read from a file.

    Raises:
        ConfigError: A rule is broken; a line per finding.
    """
    raise_problems(Problem("", finding) for finding in check_consistency(config))


def plain_names(config: RunConfig) -> Iterator[Finding]:
    """Names of sources, tasks and input groups become keys of metrics and parameters."""
    remedy = "Use letters, digits, '_' and '-'."
    for section, names in (("sources", config.sources), ("tasks", config.tasks)):
        for name in names:
            if not _NAME.fullmatch(name):
                yield Finding((section, name), f"'{name}' is not a name.", remedy)
    for source, spec in config.sources.items():
        for group in spec.inputs:
            if not _NAME.fullmatch(group):
                yield Finding(("sources", source, "inputs", group), f"'{group}' is not a name.", remedy)
    if "mean" in config.tasks:
        what = "a task may not be called 'mean', which stands for the mean over tasks in 'mean/<metric>'."
        yield Finding(("tasks", "mean"), what, "Rename the task.")


def sources_of_tasks(config: RunConfig) -> Iterator[Finding]:
    """A task reads a source that there is."""
    for name, task in config.tasks.items():
        if task.source not in config.sources:
            yield Finding(("tasks", name, "source"), *unknown("source", task.source, list(config.sources)))


def columns_once(config: RunConfig) -> Iterator[Finding]:
    """A source's inputs name a column once."""
    for source, spec in config.sources.items():
        seen: dict[str, str] = {}
        for group, given in spec.inputs.items():
            columns = [given] if isinstance(given, str) else given
            if not columns:
                path = ("sources", source, "inputs", group)
                yield Finding(path, "names no column.", "Name one, or remove the group.")
            for column in columns:
                if column in seen:
                    what = f"column '{column}' is an input already, in group '{seen[column]}'."
                    yield Finding(("sources", source, "inputs", group), what, "Name it once.")
                seen.setdefault(column, group)


def no_leaks(config: RunConfig) -> Iterator[Finding]:
    """No target is also an input of its source."""
    for name, task in config.tasks.items():
        spec = config.sources.get(task.source)
        for group, given in spec.inputs.items() if spec else ():
            if task.target == given or (isinstance(given, list) and task.target in given):
                what = f"target '{task.target}' is also an input (sources.{task.source}.inputs.{group})."
                yield Finding(("tasks", name, "target"), what, "Remove it from the inputs: the model would copy it.")


def no_transformed_targets(config: RunConfig) -> Iterator[Finding]:
    """No transform of a source reads a target of it."""
    for name, task in config.tasks.items():
        spec = config.sources.get(task.source)
        for number, transform in enumerate(spec.transforms if spec else ()):
            read = {getattr(transform, "column", None), *getattr(transform, "columns", ())}
            if task.target in read:
                what = f"target '{task.target}' is read by a transform (sources.{task.source}.transforms.{number})."
                yield Finding(("tasks", name, "target"), what, "Targets are not transformed: name another column.")


def losses_fit(config: RunConfig) -> Iterator[Finding]:
    """A task's loss fits its kind."""
    for name, task in config.tasks.items():
        allowed = LOSSES[task.kind]
        if task.loss is not None and task.loss.kind not in allowed:
            what = f"loss '{task.loss.kind}' does not fit a {task.kind} task."
            yield Finding(("tasks", name, "loss", "kind"), what, f"Allowed: {', '.join(allowed)}.")


def metrics_fit(config: RunConfig) -> Iterator[Finding]:
    """A task's metrics fit its kind."""
    for name, task in config.tasks.items():
        allowed = METRICS[task.kind]
        for index, metric in enumerate(task.metrics or ()):
            if metric not in allowed:
                what = f"metric '{metric}' does not fit a {task.kind} task."
                yield Finding(("tasks", name, "metrics", index), what, f"Allowed: {', '.join(allowed)}.")


def some_weight(config: RunConfig) -> Iterator[Finding]:
    """Some task counts."""
    if all(task.weight == 0 for task in config.tasks.values()):
        yield Finding(("tasks",), "every task has weight 0, so there is nothing to learn.", "Raise one weight.")


def names_of_tasks(config: RunConfig) -> Iterator[Finding]:
    """Heads and balancing weights name tasks that there are."""
    tasks = list(config.tasks)
    for name in getattr(config.model, "heads", ()):
        if name not in config.tasks:
            yield Finding(("model", "heads", name), *unknown("task", name, tasks))
    for name in getattr(config.balancing, "weights", ()):
        if name not in config.tasks:
            yield Finding(("balancing", "weights", name), *unknown("task", name, tasks))


def precision_fits(config: RunConfig) -> Iterator[Finding]:
    """fp16 has no kernels on the CPU."""
    if config.train.precision == "fp16" and config.train.device == "cpu":
        yield Finding(("train", "precision"), "fp16 needs CUDA, and train.device is cpu.", "Use bf16 or fp32.")


def scores_exist(config: RunConfig) -> Iterator[Finding]:
    """What decides on stopping and keeping is measured."""
    stop, best = config.train.early_stop, config.checkpoint.keep_best
    if stop is not None:
        yield from _score(config, stop.metric, ("train", "early_stop", "metric"), ("loss",))
        if config.train.eval_every is None:
            what = "early stopping needs evaluations, and train.eval_every is null."
            yield Finding(("train", "early_stop"), what, "Set train.eval_every.")
    if best is not None:
        yield from _score(config, best.metric, ("checkpoint", "keep_best", "metric"), ())


def _score(config: RunConfig, score: str, path: KeyPath, others: tuple[str, ...]) -> Iterator[Finding]:
    reported = {name: reported_metrics(task) for name, task in config.tasks.items()}
    means = dict.fromkeys(metric for metrics in reported.values() for metric in metrics)
    allowed = [f"mean/{metric}" for metric in means]
    allowed += [f"{name}/{metric}" for name, metrics in reported.items() for metric in metrics]
    if score not in (*allowed, *others):
        yield Finding(path, *unknown("score", score, [*allowed, *others]))


def reported_metrics(task: TaskSpec) -> tuple[Metric, ...]:
    """The metrics that a task reports, its main one first."""
    return METRICS[task.kind] if task.metrics is None else task.metrics


RULES: tuple[Callable[[RunConfig], Iterator[Finding]], ...] = (
    plain_names,
    sources_of_tasks,
    columns_once,
    no_leaks,
    no_transformed_targets,
    losses_fit,
    metrics_fit,
    some_weight,
    names_of_tasks,
    precision_fits,
    scores_exist,
)
