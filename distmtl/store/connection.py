"""Requests to an object store, repeated while what keeps them from succeeding may pass.

obstore repeats what it can within one request: it goes on in the middle of an answer that was cut, and sends a part of
an upload again. What it gives up too early (an outage of more than a few seconds) or does not repeat (a create-only
put, a deletion, a listing that was cut) is repeated here.
"""

import logging
import os
import random
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import TypeVar

from obstore.exceptions import BaseError

from distmtl.store.address import Address
from distmtl.store.cloud import PATIENCE_S, Client, Purpose, connect
from distmtl.store.failure import NO_CREDENTIALS, explain
from distmtl.store.slots import node_slots

T = TypeVar("T")

FIRST_PATIENCE_S = 30
"""For how long a store is tried that has not answered this process yet: its address may be wrong."""
FIRST_WAIT_S = 0.2
LONGEST_WAIT_S = 8.0
NOTICE_S = 5.0
"""After how long a warning says that a store does not answer."""

CLIENT_ERRORS = (BaseError, OSError, ValueError)
"""What obstore raises."""

_log = logging.getLogger("distmtl.store")


class Patience:
    """The waits between tries of one operation: longer and longer, each by chance, until a deadline.

    Chance keeps a thousand workers from coming back at the same instant.
    """

    def __init__(self, seconds: float) -> None:
        self._started = time.monotonic()
        self._seconds = seconds
        self._longest = FIRST_WAIT_S

    @property
    def waited_s(self) -> float:
        """Seconds since the first try."""
        return time.monotonic() - self._started

    @property
    def left_s(self) -> float:
        """Seconds until the deadline; not negative."""
        return max(0.0, self._seconds - self.waited_s)

    def wait(self) -> bool:
        """Wait for the next try; False where the deadline has come."""
        left = self.left_s
        if not left:
            return False
        time.sleep(min(left, random.uniform(0, self._longest)))
        self._longest = min(LONGEST_WAIT_S, 2 * self._longest)
        return True


class Connection:
    """The clients of one bucket, opened on first use and again after a fork. Threads may share it."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._clients: dict[tuple[int, Purpose], Client] = {}
        self._answered = False
        self._silent = False

    def client(self, purpose: Purpose) -> Client:
        """The client that belongs to this process.

        Raises:
            StoreError: See :func:`distmtl.store.cloud.connect`.
        """
        key = os.getpid(), purpose
        if key not in self._clients:
            self._clients[key] = connect(self._address, purpose)
        return self._clients[key]

    def ask(self, request: Callable[[Client], T], purpose: Purpose = Purpose.REQUEST) -> T:
        """Send a request until it is answered, or until patience or hope is at its end.

        Args:
            request: Sends it; may be called several times.
            purpose: Of the client that it is called with.

        Raises:
            CLIENT_ERRORS: What the last try raised.
            StoreError: See :meth:`client`.
        """
        client = self.client(purpose)
        patience = Patience(PATIENCE_S if self._answered else FIRST_PATIENCE_S)
        while True:
            try:
                with nullcontext() if self._address.scheme == "memory" else node_slots().hold():
                    answer = request(client)
            except CLIENT_ERRORS as error:
                failure = explain(error)
                is_renewal = failure.code == NO_CREDENTIALS and self._answered  # there were some before
                if not failure.passing and not is_renewal:
                    if failure.code != NO_CREDENTIALS:
                        self._note_answer(patience)
                    raise
                self._note_silence(patience, failure.cause)
                if not patience.wait():
                    raise
            else:
                self._note_answer(patience)
                return answer

    def _note_silence(self, patience: Patience, cause: str) -> None:
        if patience.waited_s > NOTICE_S and not self._silent:
            self._silent = True
            _log.warning(
                "%s does not answer: %s. Trying for another %.0f s.", self._address.uri, cause, patience.left_s
            )

    def _note_answer(self, patience: Patience) -> None:
        self._answered = True
        if self._silent:
            self._silent = False
            _log.warning("%s answers again, after %.0f s.", self._address.uri, patience.waited_s)
