"""Hard parameter sharing (Caruana 1997): one trunk for all tasks, one head per task."""

from collections.abc import Mapping, Sequence

from distmtl.errors import ConfigError
from distmtl.features import InputGroup
from distmtl.models.base import MultiTaskModel
from distmtl.models.heads import build_head
from distmtl.models.specs import HardSharingSpec
from distmtl.models.trunks import build_trunk


def build_hard_sharing(
    spec: HardSharingSpec, groups: Sequence[InputGroup], outputs: Mapping[str, int], seed: int, *, defer: bool
) -> MultiTaskModel:
    """The model; see :func:`distmtl.models.build.build_model`.

    Raises:
        ConfigError: ``heads`` names a task that the run does not have.
    """
    strangers = sorted(set(spec.heads) - set(outputs))
    if strangers:
        raise ConfigError(
            f"there is no task '{strangers[0]}'.", "model.heads", f"The tasks are {', '.join(sorted(outputs))}."
        )
    trunk = build_trunk(spec.trunk, groups, seed, defer=defer)
    private = {
        task: build_head(spec.heads.get(task, spec.head), trunk.width, width, seed, f"private.{task}")
        for task, width in outputs.items()
    }
    return MultiTaskModel(trunk.module, private)
