"""The training loop, on one screen.

Every decision that changes what happens next (stop, save, evaluate, end) follows from the step number or from
values that were reduced over the workers, so all workers take it on the same step.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from distmtl.data.batch import StepBatch
from distmtl.data.mixture import Mixture
from distmtl.errors import NonFiniteError
from distmtl.parallel.world import World
from distmtl.training.facts import StepFacts, TaskPlace, exchange
from distmtl.training.ledger import Ledger
from distmtl.training.mixing import Mixer
from distmtl.training.optim import set_rate
from distmtl.training.pace import Pace
from distmtl.training.progress import Progress
from distmtl.training.specs import AdamWSpec, SgdSpec
from distmtl.training.step import StepOutcome, TrainStep

Stopped = Literal["done", "early_stop", "interrupted"]


class Batches(Protocol):
    """What the loop needs of :class:`distmtl.training.reading.Reader`."""

    def quarantined(self, step: int) -> int:
        """Number of blocks that the steps before ``step`` did without."""
        ...

    def take(self, steps: int) -> list[StepBatch]:
        """This worker's share of the next steps; of fewer if it cannot be read and the run may do without."""
        ...

    def do_without(self, step: int) -> None:
        """Give up what any worker could not read, and take everything from ``step`` on anew; a collective."""
        ...

    def extend(self, mixture: Mixture, horizon: int | None) -> None:
        """Take over a longer mixture log, and prepare batches up to ``horizon``."""
        ...


@dataclass(frozen=True)
class Cadence:
    """When things happen, in steps done; None: after the last step only."""

    steps: int
    log_every: int
    eval_every: int | None
    save_every: int | None

    def due(self, every: int | None, done: int) -> bool:
        """Whether something that happens every so many steps is due; always after the last step."""
        return done >= self.steps or (every is not None and done % every == 0)


@dataclass(frozen=True)
class LoopParts:
    """What the loop runs on.

    ``evaluate`` measures and returns whether to stop early, ``save`` commits a checkpoint and ``log`` takes a line
    of training metrics; all three are collectives or do nothing but on rank 0.
    """

    step: TrainStep
    batches: Batches
    places: tuple[TaskPlace, ...]
    mixer: Mixer
    ledger: Ledger
    pace: Pace
    world: World
    optim: AdamWSpec | SgdSpec
    cadence: Cadence
    stop_requested: Callable[[], bool]
    evaluate: Callable[[Progress], bool]
    save: Callable[[Progress], None]
    log: Callable[[Progress, dict[str, Any]], None]


def run_loop(parts: LoopParts, progress: Progress) -> Stopped:
    """Train from ``progress.step`` to the end. Whatever ends it but an error, the last state is saved.

    Raises:
        NonFiniteError: A gradient became NaN or infinite; nothing of that step is saved.
    """
    pace, warm = parts.pace, False
    while progress.step < parts.cadence.steps:
        with pace.spending("data"):
            wanted = min(pace.agreed, parts.cadence.steps - progress.step)
            batches = parts.batches.take(wanted)
            agreement = exchange(
                batches, wanted, parts.places, parts.world, stop=parts.stop_requested(), next_steps=pace.wish(batches)
            )
        pace.agreed = agreement.next_steps
        if agreement.stop:
            if not parts.step.is_finite():  # since the last step whose norm was looked at
                raise NonFiniteError("a parameter is not finite.", where=f"step {progress.step}")
            parts.save(progress)
            return "interrupted"
        if agreement.unread:
            parts.batches.do_without(progress.step)
            continue
        if not warm:
            parts.step.warm_up(batches[0])
            warm = True
        for batch, facts in zip(batches, agreement.facts, strict=True):
            with pace.spending("step"):
                rate = set_rate(parts.step.optimizer, parts.optim, batch.step, parts.cadence.steps)
                outcome = parts.step(batch, facts, measure_norm=_is_watched(parts.cadence, batch.step))
                _refuse_non_finite(parts, outcome, batch.step)
            progress.step += 1
            if _after_step(parts, progress, outcome, facts, rate):
                return "early_stop"
    return "done"


def _after_step(parts: LoopParts, progress: Progress, outcome: StepOutcome, facts: StepFacts, rate: float) -> bool:
    """What is due after a step; returns whether the run stops early."""
    cadence, done = parts.cadence, progress.step
    parts.ledger.add(outcome, facts)
    parts.mixer.add(outcome, facts)
    if parts.mixer.decide(done):
        parts.batches.extend(parts.mixer.mixture, parts.mixer.horizon(done))
    if cadence.due(cadence.log_every, done):
        parts.log(progress, _line(parts, progress, outcome, rate))
    stop = False
    with parts.pace.spending("other"):
        if cadence.due(cadence.eval_every, done):
            stop = parts.evaluate(progress)
        progress.ended = "early_stop" if stop else "done" if done >= cadence.steps else None
        if progress.ended or cadence.due(cadence.save_every, done):
            parts.save(progress)
    return stop


def _line(parts: LoopParts, progress: Progress, outcome: StepOutcome, rate: float) -> dict[str, Any]:
    loss, tasks = parts.ledger.means()
    parts.ledger.clear()
    return {
        "step": progress.step,
        "split": "train",
        "loss": loss,
        "tasks": tasks,
        "mixture": parts.mixer.mixture.shares(progress.step - 1),
        "lr": rate,
        "quarantined": parts.batches.quarantined(progress.step),
        "grad_norm": None if outcome.norm is None else float(outcome.norm),
        "time": parts.pace.line(),
        **parts.step.gradient_line(),
    }


def _is_watched(cadence: Cadence, step: int) -> bool:
    """Whether the gradient's norm is looked at: before anything is written down or saved.

    Not in every step, for it costs a pass over the gradient and makes the host wait for the device. A NaN in the
    parameters stays there, so that a later step finds it.
    """
    return any(cadence.due(every, step + 1) for every in (cadence.log_every, cadence.eval_every, cadence.save_every))


def _refuse_non_finite(parts: LoopParts, outcome: StepOutcome, step: int) -> None:
    """The gradient is the sum over all workers, so each of them sees the same norm and stops on the same step."""
    norm = outcome.norm
    if norm is None or outcome.skipped or not (_is_watched(parts.cadence, step) or norm.device.type == "cpu"):
        return
    if bool(norm.isfinite()):
        return
    losses = parts.world.sum(outcome.losses.clone()).tolist()
    named = ", ".join(f"{place.task.name} {loss:.4g}" for place, loss in zip(parts.places, losses, strict=True))
    raise NonFiniteError(f"the gradient is not finite (mean losses: {named}).", where=f"step {step}")
