"""The folder on the local disk that a large pack works in, so that one that was killed goes on where it was."""

import fcntl
import glob
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO

import xxhash

from distmtl.data.ingest.spill import writing
from distmtl.errors import SourceError
from distmtl.store.base import Store

_LOCK = "lock"


class WorkFolder:
    """A folder of one pack, named after what goes into it; it may not exist yet.

    Args:
        parent: The folder that it is in; see :func:`work_parent`.
        stem: What the folders of all packs into the same place begin with.
        identity: What the pack is of.
    """

    def __init__(self, parent: Path, stem: str, identity: str) -> None:
        self.path = parent / f"{stem}-{identity}"
        self._stem = stem
        self._lock: IO[bytes] | None = None

    def open(self) -> None:
        """Create it where it is missing, and keep other processes out of it.

        Raises:
            SourceError: It cannot be created, or another process is at work in it.
        """
        if self._lock is not None:
            return
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            lock = (self.path / _LOCK).open("wb")
        if not _locked(lock):
            lock.close()
            raise SourceError(
                "another process is packing the same files into the same place.", str(self.path), "Wait until it ends."
            )
        self._lock = lock

    @property
    def is_open(self) -> bool:
        """Whether this pack works in it."""
        return self._lock is not None

    def save(self, name: str, text: str) -> None:
        """Keep a text, whole or not at all."""
        data = text.encode()
        temporary = self.path / f"{name}.new"
        with writing(self.path):
            with temporary.open("wb") as file:
                file.write(xxhash.xxh3_64_hexdigest(data).encode() + b"\n" + data)
            temporary.replace(self.path / name)

    def load(self, name: str) -> str | None:
        """The text that was saved, or None where there is none that is whole."""
        try:
            digest, _, data = (self.path / name).read_bytes().partition(b"\n")
        except OSError:
            return None
        return data.decode() if xxhash.xxh3_64_hexdigest(data).encode() == digest else None

    def clear(self) -> None:
        """Remove what an earlier process left in it."""
        for item in self.path.iterdir():
            if item.name != _LOCK:
                item.unlink()

    def check_space(self, needed: int) -> None:
        """Refuse to begin what the disk has no room for.

        Raises:
            SourceError: There are fewer than ``needed`` bytes left.
        """
        with writing(self.path):
            free = shutil.disk_usage(self.path).free
        if free < needed:
            raise SourceError(
                f"packing needs {needed / 2**30:.1f} GiB of work space, and there are {free / 2**30:.1f} GiB.",
                str(self.path.parent),
                "Free some space, or give another folder with --work.",
            )

    def close(self, *, remove: bool) -> None:
        """Leave it; ``remove`` it, and those that killed packs into the same place have left."""
        if remove and self._lock is not None:
            shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def remove_others(self) -> None:
        """Remove the folders of killed packs of other files or options into the same place."""
        for other in self.path.parent.glob(f"{glob.escape(self._stem)}-*"):
            with suppress(OSError), (other / _LOCK).open("rb") as lock:
                if other != self.path and _locked(lock):
                    shutil.rmtree(other, ignore_errors=True)


def work_folder(store: Store, chosen: str | None, identity: str) -> WorkFolder:
    """The work folder of a pack into a store: in the chosen folder, beside a local source, or with temporary files."""
    place = xxhash.xxh3_64_hexdigest(store.uri.encode())
    if chosen is not None:
        return WorkFolder(Path(chosen).expanduser().absolute(), f"distmtl-pack-{place}", identity)
    if Path(store.uri).is_absolute():
        # The temporary folder is often in memory, or small.
        folder = Path(store.uri)
        return WorkFolder(folder.parent, f".{folder.name}.pack", identity)
    return WorkFolder(Path(tempfile.gettempdir()), f"distmtl-pack-{place}", identity)


def _locked(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return os.fstat(file.fileno()).st_nlink > 0
