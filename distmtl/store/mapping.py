"""Files of this machine's own disks as memory: read without a copy.

A page of a mapped file is read when it is touched, and a process that touches one beyond the end of a file, or on a
disk that fails, is killed (SIGBUS). So files are mapped only where the file system is local, and only as far as they
reach at that moment.
"""

import mmap
import os
from collections import OrderedDict
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import BinaryIO

LOCAL_SYSTEMS = frozenset(("bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "tmpfs", "xfs", "zfs"))
"""File systems whose reads do not go over a network."""

KEPT_FILES = 256
"""Files that stay mapped: mapping one anew for each block would cost as much as reading it."""

_Identity = tuple[int, int, int, int]


class Mappings:
    """The mapped files of a process, the least recently used first."""

    def __init__(self, kept_files: int) -> None:
        self._kept_files = kept_files
        self._files: OrderedDict[_Identity, memoryview] = OrderedDict()
        self._lock = Lock()

    def view(self, file: BinaryIO, offset: int, length: int) -> memoryview:
        """Bytes of an open file; fewer than asked for only where it ends. They live as long as the view."""
        status = os.fstat(file.fileno())
        if offset >= status.st_size or not length:
            return memoryview(b"")
        # A file that was replaced or written to is another one, and mapped anew.
        identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        with self._lock:
            whole = self._files.get(identity)
            if whole is None:
                whole = memoryview(mmap.mmap(file.fileno(), status.st_size, prot=mmap.PROT_READ))
                self._files[identity] = whole
                if len(self._files) > self._kept_files:
                    self._files.popitem(last=False)
            self._files.move_to_end(identity)
        return whole[offset : offset + length]


MAPPINGS = Mappings(KEPT_FILES)
"""The mapped files of this process."""


@lru_cache(maxsize=64)
def is_local(folder: str) -> bool:
    """Whether a folder lies on a disk of this machine; False where that cannot be told."""
    try:
        lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    real = Path(os.path.realpath(folder))
    kind = ""
    longest = -1
    for line in lines:
        _, place, found, *_ = line.split(" ")
        # Mount points have their spaces and backslashes written in octal.
        mount = Path(place.encode().decode("unicode_escape"))
        if real.is_relative_to(mount) and len(mount.parts) >= longest:
            kind, longest = found, len(mount.parts)
    return kind in LOCAL_SYSTEMS
