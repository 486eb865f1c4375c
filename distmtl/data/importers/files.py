"""Files whose bytes are the values of a column: images in a folder per class, and columns that name files."""

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import xxhash

from distmtl.data.importers.base import BATCH_BYTES, RawInput, cut, hash_file, not_empty, reading
from distmtl.data.importers.values import Row, to_batches
from distmtl.errors import SourceError

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".jp2", ".avif")


def is_image(path: str | Path) -> bool:
    """Whether a file's ending is that of an image."""
    return Path(path).suffix.lower() in IMAGES


def classes_of(folder: str) -> list[str]:
    """The folders in a folder that hold images themselves, in order."""
    with os.scandir(folder) as entries:
        inner = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    return [name for name in inner if holds_image(Path(folder, name))]


def holds_image(folder: Path) -> bool:
    """Whether a folder holds an image itself."""
    with os.scandir(folder) as entries:
        return any(entry.is_file() and is_image(entry.name) for entry in entries)


@dataclass(frozen=True)
class ImageTreeInput:
    """A folder with a folder of images for each class: columns ``image``, its bytes, and ``label``, that folder's name.

    Rows stand in the order of classes, then of file names; files that are no images, and hidden ones, are left out.
    """

    path: str
    text: bool = False

    @property
    def schema(self) -> pa.Schema:  # noqa: D102
        return pa.schema([("image", pa.binary()), ("label", pa.string())])

    @property
    def notes(self) -> tuple[str, ...]:  # noqa: D102
        others = self._found[1]
        return (f"{others} files that are no images were left out",) if others else ()

    def batches(self) -> Iterator[pa.RecordBatch]:  # noqa: D102
        return not_empty(self.path, to_batches(self.path, self._rows(), self.schema))

    def fingerprint(self) -> str:  # noqa: D102
        hasher = xxhash.xxh3_64()
        for name, file in self._found[0]:
            with reading(file):
                hasher.update(repr((name, Path(file).name, Path(file).stat().st_size)).encode())
                hash_file(hasher, file)
        return hasher.hexdigest()

    @cached_property
    def _found(self) -> tuple[list[tuple[str, str]], int]:
        """Class and file of each row, and how many other files there are."""
        rows, others = [], 0
        with reading(self.path):
            for name in sorted(inner.name for inner in Path(self.path).iterdir() if inner.is_dir()):
                for file in sorted(str(file) for file in Path(self.path, name).rglob("*") if file.is_file()):
                    if is_image(file) and not name.startswith(".") and not Path(file).name.startswith("."):
                        rows.append((name, file))
                    else:
                        others += 1
        return rows, others

    def _rows(self) -> Iterator[Row]:
        for name, file in self._found[0]:
            with reading(file):
                yield file, {"image": Path(file).read_bytes(), "label": name}


@dataclass(frozen=True)
class AttachedFiles:
    """An input some of whose columns name files, with the bytes of these files in their place.

    Attributes:
        inner: The input.
        folders: Folder of each such column, which names are relative to; None: that of the input.
    """

    inner: RawInput
    folders: Mapping[str, str | None]

    @property
    def path(self) -> str:  # noqa: D102
        return self.inner.path

    @property
    def text(self) -> bool:  # noqa: D102
        return self.inner.text

    @property
    def notes(self) -> tuple[str, ...]:  # noqa: D102
        return self.inner.notes

    @cached_property
    def schema(self) -> pa.Schema:  # noqa: D102
        schema = self.inner.schema
        for name in self.folders:
            kind = schema.field(name).type if name in schema.names else None
            if kind is None or not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
                what = f"there is no column '{name}'" if kind is None else f"column '{name}' is of type {kind}"
                columns = ", ".join(schema.names)
                raise SourceError(f"{what}; --files names one of file names.", self.path, f"There are: {columns}.")
            schema = schema.set(schema.names.index(name), pa.field(name, pa.binary()))
        return schema

    def batches(self) -> Iterator[pa.RecordBatch]:  # noqa: D102
        schema, first = self.schema, 1
        for batch in self.inner.batches():
            yield from self._filled(batch, schema, first)
            first += batch.num_rows

    def fingerprint(self) -> str:  # noqa: D102
        hasher = xxhash.xxh3_64(self.inner.fingerprint().encode())
        first = 1
        for batch in self.inner.batches():
            for name in self.folders:
                for row, value in enumerate(batch[name].to_pylist()):
                    file = self._file(name, value)
                    hasher.update(b"null" if file is None else b"file")
                    if file is not None:
                        with self._naming(file, first + row):
                            hasher.update(file.stat().st_size.to_bytes(8, "little"))
                            hash_file(hasher, str(file))
            first += batch.num_rows
        return hasher.hexdigest()

    def _filled(self, batch: pa.RecordBatch, schema: pa.Schema, first: int) -> Iterator[pa.RecordBatch]:
        """A batch as as many batches as its files need."""
        files = {name: [self._file(name, value) for value in batch[name].to_pylist()] for name in self.folders}
        start, size = 0, 0
        held: dict[str, list[bytes | None]] = {name: [] for name in self.folders}
        for row in range(batch.num_rows):
            for name, column in files.items():
                data = self._read(column[row], first + row)
                held[name].append(data)
                size += len(data or b"")
            if size >= BATCH_BYTES // 2 or row + 1 == batch.num_rows:
                part = batch.slice(start, row + 1 - start)
                columns = [pa.array(held[name], pa.binary()) if name in held else part[name] for name in schema.names]
                yield from cut(pa.RecordBatch.from_arrays(columns, schema=schema))
                start, size, held = row + 1, 0, {name: [] for name in self.folders}

    def _file(self, name: str, value: str | None) -> Path | None:
        """The file that a cell names; an empty one names none."""
        if value is None or not value.strip():
            return None
        folder = self.folders[name]
        return Path(self._own_folder if folder is None else folder, value.strip())

    @property
    def _own_folder(self) -> Path:
        path = Path(self.path)
        return path if path.is_dir() else path.parent

    def _read(self, file: Path | None, row: int) -> bytes | None:
        if file is None:
            return None
        with self._naming(file, row):
            return file.read_bytes()

    def _naming(self, file: Path, row: int) -> AbstractContextManager[None]:
        remedy = "Correct the name, or say what folder names are relative to: --files COLUMN=FOLDER."
        return reading(f"{self.path}: row {row}: {file}", remedy)
