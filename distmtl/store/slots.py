"""A limit on the requests that all processes of a machine have under way at object stores, for servers that need one.

``DISTMTL_STORE_REQUESTS=16`` sets it; without it there is none. It holds for the requests that read, and those that
write a whole object; a streamed upload has its own limit. A slot is a locked file, so a killed process frees its own.
"""

import fcntl
import os
import random
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from distmtl.errors import StoreError

VARIABLE = "DISTMTL_STORE_REQUESTS"
POLL_S = 0.005
LONGEST_POLL_S = 0.1
GIVE_UP_S = 60.0
"""After which a request goes out without a slot: the limit is a courtesy, and must not stop a run."""


class Slots:
    """Slots that processes of one user share by their folder.

    Args:
        count: How many there are; 0: no limit.
        folder: Where their files lie; made on first use, for this user alone.
    """

    def __init__(self, count: int, folder: Path) -> None:
        self._count = count
        self._folder = folder
        self._made = False

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold a slot; waits for one."""
        if not self._count:
            yield
            return
        slot = self._take()
        try:
            yield
        finally:
            if slot is not None:
                os.close(slot)  # unlocks

    def _take(self) -> int | None:
        deadline = time.monotonic() + GIVE_UP_S
        wait = POLL_S
        while time.monotonic() < deadline:
            for number in random.sample(range(self._count), self._count):
                slot = self._try(number)
                if slot is not None:
                    return slot
            time.sleep(random.uniform(0, wait))
            wait = min(LONGEST_POLL_S, 2 * wait)
        return None

    def _try(self, number: int) -> int | None:
        self._make_folder()
        slot = os.open(self._folder / str(number), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(slot)
            return None
        return slot

    def _make_folder(self) -> None:
        if self._made:
            return
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = self._folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise StoreError(
                f"the folder of {VARIABLE} belongs to somebody else.", str(self._folder), "Delete it, or set TMPDIR."
            )
        self._made = True


@cache
def node_slots() -> Slots:
    """This machine's slots, as the environment has them.

    Raises:
        StoreError: The variable is not a number.
    """
    text = os.environ.get(VARIABLE, "0")
    if not text.isdecimal():
        raise StoreError(f"{VARIABLE} is '{text}'.", remedy="Set it to a number of requests; 0 or unset is no limit.")
    return Slots(int(text), Path(tempfile.gettempdir()) / f"distmtl-requests-{os.getuid()}")
