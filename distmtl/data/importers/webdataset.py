"""WebDataset: tar files whose members share a name up to the first dot of it for each sample."""

import io
import json
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from distmtl.data.importers.base import files_fingerprint, first_line, not_empty, reading
from distmtl.data.importers.values import Kinds, Row, flatten, in_groups, to_batches
from distmtl.errors import SourceError

KEY = "__key__"
_NAME = re.compile(r"^((?:.*/|)[^.]+)[.]([^/]*)$")
_META = re.compile(r"^__[^/]*__($|/)")
_CHUNK = 2**20
_REMEDY = "Fetch or write the archive again."


@dataclass(frozen=True)
class WebDatasetInput:
    """A tar file of samples, which may be compressed."""

    path: str
    drop: tuple[str, ...] = ()
    text: bool = False
    notes: tuple[str, ...] = ()

    @cached_property
    def schema(self) -> pa.Schema:  # noqa: D102
        kinds = Kinds(self.path, self.drop)
        kinds.name(KEY, pa.string())
        for group in in_groups(self._rows(kinds)):
            kinds.see(group)
        return kinds.schema()

    def batches(self) -> Iterator[pa.RecordBatch]:  # noqa: D102
        schema = self.schema
        return not_empty(self.path, to_batches(self.path, self._rows(), schema, self.drop))

    def fingerprint(self) -> str:  # noqa: D102
        return files_fingerprint(self.path)

    def _rows(self, kinds: Kinds | None = None) -> Iterator[Row]:
        """The samples; with ``kinds``, told of each column, without the values whose type the name says."""
        key, sample = None, dict[str, Any]()
        with reading(self.path, _REMEDY), tarfile.open(self.path, "r:*", tarinfo=_Member) as archive:
            for member in archive:
                # The archive remembers every member that it has seen.
                archive.members = []  # type: ignore[attr-defined]
                name = _NAME.match(member.name)
                if name is None or not member.isreg() or _META.match(member.name):
                    continue
                if key is not None and name[1] != key:
                    yield f"sample '{key}'", flatten(sample)
                    sample = {}
                key, column = name[1], name[2].lower()
                if column in sample:
                    what = f"'{member.name}' comes twice in its sample."
                    raise SourceError(what, self.path, "Put the files of a sample next to each other, each once.")
                sample[KEY] = key
                kind, decode = _KINDS.get(column.rpartition(".")[2], (pa.binary(), bytes))
                if kinds is not None and kind is not None:
                    kinds.name(column, kind)
                elif column not in self.drop:
                    sample[column] = self._decode(archive, member, decode)
                else:
                    sample[column] = None
            # What stands behind the last member is the checksum of a compressed archive.
            while archive.fileobj.read(_CHUNK):
                pass
        if key is not None:
            yield f"sample '{key}'", flatten(sample)

    def _decode(self, archive: tarfile.TarFile, member: tarfile.TarInfo, decode: Callable[[bytes], Any]) -> Any:
        file = archive.extractfile(member)
        data = b"" if file is None else file.read()
        if len(data) < member.size:
            raise SourceError(f"it ends within '{member.name}'.", self.path, _REMEDY)
        try:
            return decode(data)
        except (ValueError, RecursionError) as error:
            column = member.name.partition(".")[2]
            what = f"'{member.name}' is not what its ending says: {first_line(error)}."
            raise SourceError(what, self.path, f"Mend it, rename it, or use --drop {column}.") from error


class _Member(tarfile.TarInfo):
    """A member of an archive that must be whole: by itself, tarfile takes a broken header for the end."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> "_Member":
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.EmptyHeaderError as error:  # type: ignore[attr-defined]
            raise tarfile.ReadError("it ends without the mark of its end") from error
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"broken header at byte {archive.offset}: {error}") from error


def _array(data: bytes) -> Any:
    return np.load(io.BytesIO(data), allow_pickle=False)


_KINDS: dict[str, tuple[pa.DataType | None, Callable[[bytes], Any]]] = {
    **dict.fromkeys(("cls", "cls2", "index", "count"), (pa.int64(), lambda data: int(data.decode()))),
    **dict.fromkeys(("txt", "text", "transcript"), (pa.string(), bytes.decode)),
    **dict.fromkeys(("json", "jsn"), (None, json.loads)),
    "npy": (None, _array),
}
"""What the last ending of a name says of the bytes: a type (None: found from the values), and how they are decoded."""
