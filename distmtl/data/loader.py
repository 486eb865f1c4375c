"""The loader: one worker's batches, step after step, made ahead in the background.

It can be used alone in any PyTorch loop::

    with Loader(sources, plan, mixture, rank, size) as loader:
        for batch in loader:
            ...
"""

import weakref
from collections.abc import Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

from distmtl.data.assembler import GROUP_BYTES, Assembler, Share
from distmtl.data.batch import StepBatch
from distmtl.data.blocks import LoaderSource
from distmtl.data.mixture import Mixture, MixtureEntry
from distmtl.data.plan import Plan
from distmtl.data.prefetch import Prefetch
from distmtl.data.transformed import Stage
from distmtl.errors import InputError

PREFETCH_STEPS = 64
"""Batches that may wait for their use."""


class Loader:
    """Iterates over one worker's :class:`~distmtl.data.batch.StepBatch`, from a step on.

    Iteration ends at the horizon, the first step whose mixture is not known yet, and can go on after :meth:`extend`.
    An error in a background thread is raised by the ``next`` that would have given the batch of its step.

    Args:
        sources: The sources, in the order of the plan's layouts.
        plan: The plan.
        mixture: The mixture log.
        rank: The worker.
        size: The number of workers.
        start: The first step.
        horizon: The step at which to stop; None: never.
        prefetch_bytes: Bytes that prepared batches may have in all; at least one is prepared.
        pin: Whether batches lie in page-locked memory, so that copies to a GPU overlap with its work.
        transform_workers: Processes for the sources' transforms; 0: the thread that makes batches runs them.

    Attributes:
        step: The next step.
        mixture: The mixture log.
        horizon: The step at which iteration ends.
    """

    def __init__(  # noqa: PLR0913 - each is one plain fact about the worker
        self,
        sources: Sequence[LoaderSource],
        plan: Plan,
        mixture: Mixture,
        rank: int = 0,
        size: int = 1,
        start: int = 0,
        *,
        horizon: int | None = None,
        prefetch_bytes: int = 256 * 2**20,
        pin: bool = False,
        transform_workers: int = 0,
    ) -> None:
        names = tuple(source.name for source in sources)
        if names != mixture.sources or names != tuple(layout.name for layout in plan.layouts):
            raise InputError(f"the loader's sources {names} are not those of the plan and the mixture, in their order.")
        self.step, self.mixture, self.horizon = start, mixture, horizon
        self._sources, self._plan, self._rank, self._size = tuple(sources), plan, rank, size
        self._prefetch_bytes, self._pin = prefetch_bytes, pin
        self._transform_workers = transform_workers
        self._worker: _Worker | None = None
        self._finalizer: weakref.finalize[..., Loader] | None = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> StepBatch:
        if self._worker is None:
            self._worker = self._start()
            # The threads know nothing of the loader, so a forgotten one is collected, and ends them.
            self._finalizer = weakref.finalize(self, self._worker.close, wait=False)
        batch = self._worker.prefetch.get()
        if batch is None:
            raise StopIteration
        self.step = batch.step + 1
        return batch

    def extend(self, mixture: Mixture, horizon: int | None) -> None:
        """Go on to a later horizon, with a mixture log that has entries from the present one on.

        Raises:
            InputError: The new log or horizon contradicts steps that may be planned already.
        """
        settled = self.horizon
        if settled is None:
            raise InputError("a loader without a horizon cannot be extended.", remedy="Give it one.")
        if (horizon is not None and horizon < settled) or _until(mixture, settled) != _until(self.mixture, settled):
            raise InputError(
                f"steps before {settled} cannot change: they may be planned already.",
                remedy="Let a new mixture take effect at the loader's horizon or later.",
            )
        self.mixture, self.horizon = mixture, horizon
        if self._worker is not None:
            self._worker.extend(mixture, horizon)

    def close(self) -> None:
        """End the background threads and drop what they prepared. Iterating again starts them anew."""
        worker, self._worker = self._worker, None
        # At the end of the interpreter the finalizer was first, and the threads may be gone with a lock in their hands.
        if worker is not None and self._finalizer is not None and self._finalizer.detach() is not None:
            worker.close(wait=True)

    def _start(self) -> "_Worker":
        transforms = [source.transform for source in self._sources]
        stage = Stage(transforms, self._plan.seed, self._transform_workers, pin=self._pin)
        share = Share(self._rank, self._size, min(GROUP_BYTES, self._prefetch_bytes // 4), self._pin)
        assembler = Assembler(self._sources, self._plan, self.mixture, share, self.step, stage)
        prefetch = Prefetch(assembler.make, self.step, self.horizon, PREFETCH_STEPS, self._prefetch_bytes)
        return _Worker(assembler, prefetch)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def state_dict(self) -> dict[str, Any]:
        """Everything that a loader of any rank and size needs to go on: plain JSON."""
        return {"step": self.step, "horizon": self.horizon, "mixture": self.mixture.to_json()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the loader that gave ``state`` stood."""
        self.close()
        self.step, self.horizon, self.mixture = state["step"], state["horizon"], Mixture.from_json(state["mixture"])


class _Worker(NamedTuple):
    """The threads behind a loader."""

    assembler: Assembler
    prefetch: Prefetch[StepBatch]

    def extend(self, mixture: Mixture, horizon: int | None) -> None:
        self.assembler.mixture = mixture  # before the horizon, so that no step is planned with the old one
        self.prefetch.extend(horizon)

    def close(self, *, wait: bool) -> None:
        self.prefetch.close(wait=False)  # first, for it must not take what the others say at their end for errors
        self.assembler.feeds.close(wait=wait)
        self.assembler.stage.close(wait=wait)
        self.prefetch.close(wait=wait)


def _until(mixture: Mixture, step: int) -> list[MixtureEntry]:
    return [entry for entry in mixture.entries if entry.first_step < step]
