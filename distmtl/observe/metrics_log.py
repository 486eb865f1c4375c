"""The metrics file of a run: one JSON object a line, one file per attempt.

Object stores cannot append, so the lines are kept in memory and the whole file is rewritten now and then: after a
commit, at the end, and in the background at intervals that grow with its size.
"""

import json
import math
import re
import threading
from collections.abc import Mapping
from typing import Any

from distmtl.errors import StoreError
from distmtl.store import Store

SHORTEST_INTERVAL_S = 2.0
BYTES_PER_S = 1 << 18
"""The longest interval follows from it: rewriting takes no more than this rate on average (1 MiB: every 4 s)."""

_NAME = re.compile(r"^metrics-(\d+)\.jsonl$")


class MetricsLog:
    """Lines on their way to a store.

    ``write`` only appends to memory. A failed rewrite in the background is tried again at the next one; ``flush`` and
    ``close`` report it.

    Args:
        store: The run's folder.
        key: ``metrics-<attempt>.jsonl``.
        shortest_interval_s: Least seconds between two rewrites in the background.
    """

    def __init__(self, store: Store, key: str, shortest_interval_s: float = SHORTEST_INTERVAL_S) -> None:
        self._store, self._key = store, key
        self._shortest_s = shortest_interval_s
        self._text = bytearray()
        self._saved_bytes = 0
        self._text_lock = threading.Lock()
        self._put_lock = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._rewrite_now_and_then, name="distmtl-metrics", daemon=True)
        self._thread.start()

    def write(self, line: Mapping[str, Any]) -> None:
        """Add a line. NaN and infinite numbers become null, which JSON has in their place."""
        text = json.dumps(finite_json(line), allow_nan=False, separators=(",", ":")).encode() + b"\n"
        with self._text_lock:
            self._text += text

    def flush(self) -> None:
        """Return once every line so far is in the store.

        Raises:
            StoreError: It cannot be written.
        """
        with self._put_lock:
            with self._text_lock:
                text = bytes(self._text)
            if len(text) > self._saved_bytes:
                self._store.put(self._key, text)
                self._saved_bytes = len(text)

    def close(self) -> None:
        """Flush and stop; may be called more than once.

        Raises:
            StoreError: The last lines cannot be written.
        """
        self._closing.set()
        self._thread.join()
        self.flush()

    def _rewrite_now_and_then(self) -> None:
        while not self._closing.wait(max(self._shortest_s, len(self._text) / BYTES_PER_S)):
            try:
                self.flush()
            except StoreError:
                continue


def read_metrics(store: Store, begun: Mapping[int, int] | None = None) -> list[dict[str, Any]]:
    """The metrics of a run, attempts merged, in the order of their steps.

    An attempt supersedes what earlier ones wrote beyond the step that it went on from.

    Args:
        store: The run's folder.
        begun: That step by attempt; where it is not known, it is the one before the attempt's first line.

    Raises:
        StoreError: A file cannot be read.
    """
    keys = {int(match[1]): entry.key for entry in store.list() if (match := _NAME.match(entry.key))}
    merged: list[dict[str, Any]] = []
    for number in sorted({*keys, *(begun or ())}):
        text = store.get(keys[number]) if number in keys else b""
        lines = [json.loads(line) for line in text.splitlines() if line.strip()]
        if begun is not None and number in begun:
            merged = [line for line in merged if line["step"] <= begun[number]]
        elif lines:
            merged = [line for line in merged if line["step"] < lines[0]["step"]]
        merged += lines
    return merged


def finite_json(value: Any) -> Any:
    """A value as JSON can hold it: NaN and infinities become None, NumPy and torch scalars plain numbers."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {str(key): finite_json(item) for key, item in value.items()}
        case list() | tuple():
            return [finite_json(item) for item in value]
        case _:
            return finite_json(value.item())
