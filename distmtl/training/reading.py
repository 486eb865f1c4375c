"""The loop's reader: batches, and what all workers do together when a block of one of them cannot be read."""

from collections.abc import Callable

from distmtl.data.batch import StepBatch
from distmtl.data.loader import Loader
from distmtl.data.mixture import Mixture
from distmtl.data.quarantine import Quarantine, Quarantined
from distmtl.errors import CorruptBlockError
from distmtl.parallel.world import World


class Reader:
    """A worker's batches, step after step.

    Args:
        loader: Makes them; its sources read through :class:`distmtl.data.quarantine.QuarantinedSplit`.
        quarantine: The blocks that the run does without.
        world: The workers.
        warn: Called with a sentence for each block that is added.
    """

    def __init__(self, loader: Loader, quarantine: Quarantine, world: World, warn: Callable[[str], None]) -> None:
        self._loader, self._quarantine, self._world, self._warn = loader, quarantine, world, warn
        self._fault: tuple[int, CorruptBlockError] | None = None

    def quarantined(self, step: int) -> int:
        """Number of blocks that the steps before ``step`` did without."""
        return sum(entry.first_step < step for entry in self._quarantine.entries)

    def take(self, steps: int) -> list[StepBatch]:
        """This worker's share of the next steps; of fewer if a block cannot be read and the run may do without it.

        Raises:
            CorruptBlockError: A block cannot be read, and the run quarantines none.
        """
        batches: list[StepBatch] = []
        try:
            while len(batches) < steps:
                batches.append(next(self._loader))
        except CorruptBlockError as error:
            if error.place is None or not self._quarantine.max_blocks:
                raise
            self._fault = self._loader.step, error
        return batches

    def extend(self, mixture: Mixture, horizon: int | None) -> None:
        """Take over a longer mixture log, and prepare batches up to ``horizon``."""
        self._loader.extend(mixture, horizon)

    def do_without(self, step: int) -> None:
        """Quarantine what the workers could not read, and take everything from ``step`` on anew; a collective.

        Only what the earliest of the failed steps needs is added; the rest is found again. So a block is added at the
        first step that draws from a window with it, whichever worker reads that window and however many steps are
        taken at a time. The steps before draw none of its rows, and are the same with the longer list.

        Raises:
            CorruptBlockError: The quarantine is full.
        """
        fault, self._fault = self._fault, None
        faults = [found for found in self._world.all_gather(fault) if found is not None]
        first = min(failed for failed, _ in faults)
        for place, error in {error.place: error for failed, error in faults if failed == first}.items():
            self._add(Quarantined(first, *place), error)
        self._loader.load_state_dict(self._loader.state_dict() | {"step": step})

    def _add(self, entry: Quarantined, error: CorruptBlockError) -> None:
        most = self._quarantine.max_blocks
        if self._quarantine.is_full:
            what = f"{error.what.rstrip('.')}, and train.quarantine.max_blocks ({most}) is used up."
            raise CorruptBlockError(what, error.where, error.remedy)
        self._quarantine.add(entry)
        count = f"{len(self._quarantine.entries)} of at most {most}"
        self._warn(
            f"from step {entry.first_step} on the run does without a block ({count}): {error.where}: {error.what}"
        )
