"""Asking the sampler for new weights, on the same step on every worker."""

from collections.abc import Sequence

import numpy as np
import torch

from distmtl.data.mixture import Mixture
from distmtl.parallel.world import World
from distmtl.sampling.base import Sampler, State, Statistics
from distmtl.training.facts import StepFacts, TaskPlace
from distmtl.training.ledger import gather_sums, own_sums
from distmtl.training.step import StepOutcome


class Mixer:
    """The sampler, its state, and the mixture log that follows from its decisions.

    A decision taken before step d holds from step d + ``delay_steps`` on, so that batches up to there can be
    prefetched.
    """

    def __init__(
        self,
        sampler: Sampler,
        mixture: Mixture,
        state: State,
        places: Sequence[TaskPlace],
        delay_steps: int,
        world: World,
    ) -> None:
        self.mixture = mixture
        self.state = state
        self._sampler = sampler
        self._places = tuple(places)
        self._delay_steps = delay_steps
        self._world = world
        self._sums = torch.zeros(len(self._places), dtype=torch.float64, device=world.device)
        self._present = np.zeros(len(self._places))

    def horizon(self, step: int) -> int | None:
        """The first step whose mixture is not yet decided before ``step``; None: all are decided."""
        every = self._sampler.update_every
        return None if every is None else (step // every + 1) * every + self._delay_steps

    def add(self, outcome: StepOutcome, facts: StepFacts) -> None:
        """Count a step's losses for the next decision."""
        if self._sampler.update_every is not None:
            self._sums += outcome.losses
            self._present += facts.present

    def decide(self, step: int) -> bool:
        """Take the decision that is due before ``step``; returns whether one was. A collective."""
        every = self._sampler.update_every
        if every is None or step == 0 or step % every:
            return False
        weights, self.state = self._sampler.update(self._statistics(), self.state, step)
        self._sums.zero_()
        self._present[:] = 0.0
        self.mixture = self.mixture.extended(step + self._delay_steps, weights)
        return True

    def sums(self) -> dict[str, object]:
        """What was counted since the last decision, losses by worker; a collective."""
        return {"losses": gather_sums(self._sums, self._world), "present": self._present.copy()}

    def load_sums(self, sums: dict[str, np.ndarray]) -> None:
        """Go on from :meth:`sums`."""
        self._sums = own_sums(sums["losses"], self._world)
        self._present = np.array(sums["present"], dtype=np.float64)

    def _statistics(self) -> Statistics:
        sums = self._world.sum(self._sums.clone()).cpu().numpy()
        by_source: dict[str, list[float]] = {}
        for place, total, count in zip(self._places, sums, self._present, strict=True):
            if count > 0 and np.isfinite(total):
                by_source.setdefault(place.source, []).append(float(total / count))
        return Statistics({source: float(np.mean(losses)) for source, losses in by_source.items()})
