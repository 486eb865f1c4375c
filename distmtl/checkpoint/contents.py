"""What a checkpoint holds, its schema number, and how older schemas are brought up to date."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from distmtl.checkpoint.sharding import Columns
from distmtl.errors import CheckpointError

SCHEMA = 1
"""Of manifest.json. Raise it when older versions could misread what is written, and add a migration."""

MIGRATIONS: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""From a schema number to the function that turns a manifest of it into one of the next."""


@dataclass(frozen=True)
class RunState:
    """Everything that a run needs to go on exactly where it was.

    Attributes:
        tensors: Parameters, buffers and optimizer state by a name of the caller's choice, the same names on all ranks.
            A plain tensor holds the same numbers on every rank; a DTensor its rank's shard.
        values: The same on all ranks: step, mixture log, sampler and balancer state ... Nested dicts, lists and tuples
            of JSON values, NumPy arrays and tensors (``nested``).
        rank_values: This rank's own (random generators of the user's code), nested like ``values``. Empty after a load
            at another world size, where nothing corresponds to it.
        columns: Matrices by name, of which each rank holds some columns. After a load they are, whole, in ``tensors``.
    """

    tensors: Mapping[str, Tensor]
    values: Mapping[str, Any]
    rank_values: Mapping[str, Any] = field(default_factory=dict)
    columns: Mapping[str, Columns] = field(default_factory=dict)


def migrate(manifest: dict[str, Any], where: str) -> dict[str, Any]:
    """Bring the JSON values of a manifest up to ``SCHEMA``.

    Raises:
        CheckpointError: It is of a later schema, or of one that can no longer be read.
    """
    schema = manifest.get("schema")
    while schema != SCHEMA:
        if not isinstance(schema, int) or schema not in MIGRATIONS:
            raise CheckpointError(
                f"the checkpoint has schema {schema}, and this version reads up to {SCHEMA}.",
                where,
                "Use the version of distmtl that wrote it, or a later one.",
            )
        manifest = MIGRATIONS[schema](manifest)
        schema = manifest["schema"]
    return manifest
