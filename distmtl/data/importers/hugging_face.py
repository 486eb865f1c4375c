"""Hugging Face ``datasets``: what ``save_to_disk`` writes, and a ``Dataset`` in memory. The library is not needed."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa

from distmtl.data.importers.arrow_files import open_arrow
from distmtl.data.importers.base import BATCH_BYTES, check_names, files_fingerprint, not_empty, reading
from distmtl.data.importers.features import Features
from distmtl.data.importers.plain import Plain
from distmtl.data.importers.rows import batches_fingerprint
from distmtl.errors import SourceError

STATE = "state.json"
INFO = "dataset_info.json"
SPLITS = "dataset_dict.json"
_FIRST_ROWS = 64
_MOST_ROWS = 4096


def split_folders(folder: str) -> list[str]:
    """The folders of the splits of a saved DatasetDict.

    Raises:
        SourceError: The file that names them cannot be read.
    """
    where = str(Path(folder, SPLITS))
    splits = _read_json(where).get("splits")
    if not isinstance(splits, list) or any(Path(str(name)).name != name for name in splits):
        raise SourceError("it does not list the splits.", where, "Save the DatasetDict again.")
    return [str(Path(folder, name)) for name in splits]


@dataclass(frozen=True)
class SavedDatasetInput:
    """A folder that ``Dataset.save_to_disk`` wrote."""

    path: str
    drop: tuple[str, ...] = ()
    text: bool = False
    notes: tuple[str, ...] = ()

    @cached_property
    def schema(self) -> pa.Schema:  # noqa: D102
        return check_names(self.path, self._plain.schema)

    def batches(self) -> Iterator[pa.RecordBatch]:  # noqa: D102
        return not_empty(self.path, self._batches())

    def fingerprint(self) -> str:  # noqa: D102
        info = [file for file in (str(Path(self.path, INFO)),) if Path(file).is_file()]
        return files_fingerprint(*info, *self._files)

    @cached_property
    def _files(self) -> list[str]:
        where = str(Path(self.path, STATE))
        state = _read_json(where)
        if state.get("_indices_data_files"):
            what = "it was saved by an old version of datasets, with its rows in another order than its files."
            raise SourceError(what, where, "Load it with load_from_disk, and save it again.")
        try:
            names = [str(file["filename"]) for file in state["_data_files"]]
        except (LookupError, TypeError) as error:
            raise SourceError("it does not list the files of the dataset.", where, "Save it again.") from error
        if not names or any(Path(name).name != name for name in names):
            raise SourceError("it lists no files of this folder.", where, "Save the dataset again.")
        return [str(Path(self.path, name)) for name in names]

    @cached_property
    def _features(self) -> Features | None:
        """What dataset_info.json says; None leaves it to the metadata of the Arrow files."""
        where = Path(self.path, INFO)
        features = _read_json(str(where)).get("features") if where.is_file() else None
        return features if isinstance(features, dict) else None

    @cached_property
    def _plain(self) -> Plain:
        with open_arrow(self._files[0]) as (schema, _):
            return Plain.of(schema, self.path, self.drop, self._features)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        for file in self._files:
            with open_arrow(file) as (schema, batches):
                plain = Plain.of(schema, file, self.drop, self._features)
                if plain.schema != self.schema:
                    what = f"its columns are not those of '{Path(self._files[0]).name}'."
                    raise SourceError(what, file, "Save the dataset again.")
                yield from plain.stream(batches)


@runtime_checkable
class Dataset(Protocol):
    """What is used of a ``datasets.Dataset``."""

    @property
    def features(self) -> Any:
        """Its features."""
        ...

    def with_format(self, kind: str) -> Any:
        """The same rows, given in another form."""
        ...

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class DatasetInput:
    """A ``datasets.Dataset`` in memory or mapped into it, in the order of its rows.

    Attributes:
        dataset: It.
        path: What it is called in messages; its name is that of a split if it is ``train``, ``valid`` ...
        drop: Columns that come out as nulls.
    """

    dataset: Dataset
    path: str
    drop: tuple[str, ...] = ()
    text: bool = False
    notes: tuple[str, ...] = ()

    @cached_property
    def schema(self) -> pa.Schema:  # noqa: D102
        return check_names(self.path, self._plain.schema)

    def batches(self) -> Iterator[pa.RecordBatch]:  # noqa: D102
        return not_empty(self.path, self._batches())

    def fingerprint(self) -> str:  # noqa: D102
        return batches_fingerprint(self.schema, self.batches())

    @cached_property
    def _plain(self) -> Plain:
        return Plain.of(self.dataset.features.arrow_schema, self.path, self.drop)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        arrow, total = self.dataset.with_format("arrow"), len(self.dataset)
        start, rows = 0, _FIRST_ROWS
        while start < total:
            table = arrow[start : start + rows]
            yield from self._plain.stream(table.combine_chunks().to_batches())
            start += table.num_rows
            rows = max(1, min(_MOST_ROWS, BATCH_BYTES * table.num_rows // max(1, table.nbytes)))


def _read_json(path: str) -> Mapping[str, Any]:
    with reading(path, "Save the dataset again."):
        try:
            value = json.loads(Path(path).read_bytes())
        except ValueError as error:
            raise SourceError(f"it is not JSON: {error}.", path, "Save the dataset again.") from error
    return value if isinstance(value, dict) else {}
