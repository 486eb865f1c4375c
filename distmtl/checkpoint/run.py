"""A run in its store: its record, and the keys of everything else.

::

    <run>/run.json                       the resolved run file, its hash, versions
    <run>/attempts/000007.json           create-only (see ``attempt``)
    <run>/checkpoints/step-00001200/a-7-<id>/{data,state}/*.bin  manifest.json  COMMIT.json
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from distmtl.checkpoint.records import seal, unseal
from distmtl.errors import CheckpointError, KeyExistsError, KeyMissingError
from distmtl.store import Store, open_store

RUN_KEY = "run.json"
_SCHEMA = 1


@dataclass(frozen=True)
class RunStore:
    """The folder of one run.

    Attributes:
        store: The run's own folder.
        name: The run's name.
    """

    store: Store
    name: str

    @property
    def uri(self) -> str:
        """Where the run is."""
        return self.store.uri


@dataclass(frozen=True)
class RunRecord:
    """What a run was started with.

    Attributes:
        config: The resolved run file, as JSON values.
        config_hash: Its hash.
        versions: Versions of distmtl, torch, Python ... that wrote it.
    """

    config: Mapping[str, Any]
    config_hash: str
    versions: Mapping[str, str]


def open_run(store: str | Store, name: str) -> RunStore:
    """The run ``name`` in a store. Nothing is contacted or created."""
    return RunStore((open_store(store) if isinstance(store, str) else store).at(name), name)


def open_run_uri(uri: str) -> RunStore:
    """The run at a URI of its own."""
    return RunStore(open_store(uri), uri.rstrip("/").rpartition("/")[2])


def list_runs(store: str | Store) -> list[RunStore]:
    """The runs of a store, by name."""
    folder = open_store(store) if isinstance(store, str) else store
    return [open_run(folder, name) for name in folder.list_folders() if folder.size(f"{name}/{RUN_KEY}") is not None]


def create_record(run: RunStore, record: RunRecord) -> RunRecord:
    """Write the run's record unless it has one; return the one that stands.

    The caller compares: of two first attempts at the same moment, one finds the other's.
    """
    try:
        run.store.put_new(RUN_KEY, _encode(run, record))
    except KeyExistsError:
        return read_record(run)
    return record


def rewrite_record(run: RunStore, record: RunRecord) -> None:
    """Replace the run's record: a resume with changes that were allowed."""
    run.store.put(RUN_KEY, _encode(run, record))


def read_record(run: RunStore) -> RunRecord:
    """The run's record.

    Raises:
        CheckpointError: There is no run here, or its record is damaged or of a later version.
    """
    try:
        data = run.store.get(RUN_KEY)
    except KeyMissingError as error:
        raise CheckpointError("there is no run here.", run.uri, "List the runs with 'distmtl runs STORE'.") from error
    values = unseal(data, f"{run.uri}/{RUN_KEY}")
    if values["schema"] != _SCHEMA:
        raise CheckpointError(
            f"the run has schema {values['schema']}, and this version reads {_SCHEMA}.", run.uri, "Upgrade distmtl."
        )
    return RunRecord(values["config"], values["config_hash"], values["versions"])


def _encode(run: RunStore, record: RunRecord) -> bytes:
    return seal(
        {
            "schema": _SCHEMA,
            "name": run.name,
            "config": dict(record.config),
            "config_hash": record.config_hash,
            "versions": dict(record.versions),
        }
    )
