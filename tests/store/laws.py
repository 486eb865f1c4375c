"""What every store promises. A test file per kind of store runs all of it: see ``test_laws.py``."""

import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest

from distmtl.errors import KeyExistsError, KeyMissingError, StoreError
from distmtl.store import Store, open_store
from distmtl.store.claim import claim

BAD_KEYS = [
    "",
    "/a",
    "a/",
    "a//b",
    "..",
    "../a",
    "a/../b",
    "a/..",
    ".",
    "./a",
    "a\\b",
    "a\0b",
    "a\nb",
    ".tmp-x",
    "a/.tmp-x",
]


class StoreLaws:
    """Subclasses provide a fixture ``store``: an empty store."""

    def test_put_and_get(self, store: Store) -> None:
        store.put("a/b/c.json", b"one")
        assert store.get("a/b/c.json") == b"one"
        store.put("a/b/c.json", b"")
        assert store.get("a/b/c.json") == b""
        assert store.size("a/b/c.json") == 0

    @pytest.mark.parametrize("data", [b"bytes", bytearray(b"bytes"), memoryview(b"bytes")])
    def test_every_kind_of_buffer(self, store: Store, data: bytes) -> None:
        store.put("k", data)
        store.put_new("new", data)
        with store.writer("w") as writer:
            writer.write(data)
        assert [store.get(key) for key in ("k", "new", "w")] == [b"bytes"] * 3

    def test_buffers_may_be_reused_at_once(self, store: Store) -> None:
        buffer = bytearray(b"bytes")
        store.put("k", buffer)
        store.put_new("new", buffer)
        with store.writer("w") as writer:
            writer.write(buffer)
            buffer[:] = b"other"
        assert [store.get(key) for key in ("k", "new", "w")] == [b"bytes"] * 3

    @pytest.mark.parametrize("key", ["a b", "é", "a#1", "100%", "a=b&c", "x.y-z_0", "+", "a:b"])
    def test_unusual_keys(self, store: Store, key: str) -> None:
        store.put(f"in/{key}", key.encode())
        assert store.get(f"in/{key}") == key.encode()
        assert [entry.key for entry in store.list()] == [f"in/{key}"]

    @pytest.mark.parametrize("key", BAD_KEYS)
    def test_keys_cannot_leave_the_store(self, store: Store, key: str) -> None:
        for operation in (
            lambda: store.put(key, b""),
            lambda: store.put_new(key, b""),
            lambda: store.writer(key).__enter__(),
            lambda: store.get(key),
            lambda: store.get_range(key, 0, 1),
            lambda: store.get_ranges(key, [(0, 1)]),
            lambda: store.size(key),
            lambda: store.delete([key]),
        ):
            with pytest.raises(StoreError, match="is not a key"):
                operation()
        for operation in (lambda: store.list(key), lambda: store.at(key), lambda: store.clear(key)):
            if key:
                with pytest.raises(StoreError, match="is not a key"):
                    operation()

    def test_missing(self, store: Store) -> None:
        store.put("a/b", b"x")
        for key in ("no", "a", "a/c", "a/b/c"):
            for operation in (
                store.get,
                lambda key: store.get_range(key, 0, 1),
                lambda key: store.get_ranges(key, [(0, 0)]),
            ):
                with pytest.raises(KeyMissingError) as error:
                    operation(key)
                assert key in str(error.value)
            assert store.size(key) is None
        assert store.list("no") == []
        assert store.list_folders("no") == []
        store.delete(["no", "a/c"])
        store.clear("no")
        assert store.get("a/b") == b"x"

    def test_put_new_refuses_and_leaves_alone(self, store: Store) -> None:
        store.put_new("k", b"first")
        with pytest.raises(KeyExistsError, match="'k' exists already"):
            store.put_new("k", b"second")
        assert store.get("k") == b"first"

    def test_put_new_has_one_winner(self, store: Store) -> None:
        for turn in range(10):
            start = threading.Barrier(8)

            def attempt(writer: int, turn: int = turn, start: threading.Barrier = start) -> bool:
                start.wait()
                try:
                    store.put_new(f"race/{turn}", f"writer {writer}".encode())
                except KeyExistsError:
                    return False
                return True

            with ThreadPoolExecutor(8) as pool:
                won = list(pool.map(attempt, range(8)))
            assert sum(won) == 1
            assert store.get(f"race/{turn}") == f"writer {won.index(True)}".encode()
        assert len(store.list()) == 10

    def test_claim_tells_who_won(self, store: Store) -> None:
        claim(store, "k", b"me")
        claim(store, "k", b"me")
        with pytest.raises(KeyExistsError, match="another writer"):
            claim(store, "k", b"you")

    def test_writer_publishes_at_its_end(self, store: Store) -> None:
        chunk = os.urandom(3 * 2**20)
        buffer = bytearray(chunk)
        with store.writer("big") as writer:
            for _ in range(4):
                writer.write(memoryview(buffer))
                assert store.size("big") is None
                assert store.list() == []
                buffer[:] = bytes(len(buffer))  # The writer keeps nothing of it.
                buffer[:] = chunk
        assert store.get("big") == chunk * 4

    @pytest.mark.parametrize("written", [0, 10, 20 * 2**20])
    @pytest.mark.parametrize("before", [None, b"before"])
    def test_writer_drops_all_when_its_block_raises(self, store: Store, written: int, before: bytes | None) -> None:
        if before is not None:
            store.put("k", before)

        def write_and_stop() -> None:
            with store.writer("k") as writer:
                writer.write(bytes(written))
                raise RuntimeError("stop")

        with pytest.raises(RuntimeError, match="stop"):
            write_and_stop()
        assert [entry.key for entry in store.list()] == ([] if before is None else ["k"])
        if before is not None:
            assert store.get("k") == before

    def test_an_empty_writer_makes_an_empty_object(self, store: Store) -> None:
        with store.writer("k"):
            pass
        assert store.size("k") == 0

    def test_ranges(self, store: Store) -> None:
        data = os.urandom(1000)
        store.put("k", data)
        assert store.get_range("k", 0, 1000) == data
        assert store.get_range("k", 999, 1) == data[999:]
        assert store.get_range("k", 10, 0) == b""
        assert isinstance(store.get_range("k", 1, 1), memoryview)
        asked = [(900, 100), (0, 10), (5, 10), (3, 0)]
        assert store.get_ranges("k", asked) == [data[offset : offset + length] for offset, length in asked]
        assert store.get_ranges("k", []) == []

    @pytest.mark.parametrize(("offset", "length"), [(0, 11), (10, 1), (100, 1), (9, 2)])
    def test_a_range_beyond_the_end_is_an_error(self, store: Store, offset: int, length: int) -> None:
        store.put("k", bytes(10))
        with pytest.raises(StoreError, match="'k'"):
            store.get_range("k", offset, length)
        with pytest.raises(StoreError, match="'k'"):
            store.get_ranges("k", [(0, 1), (offset, length)])

    def test_listing(self, store: Store) -> None:
        assert store.list() == []
        keys = ["a/b/1", "a/b/2", "a/bc/3", "a/4", "z"]
        for size, key in enumerate(keys):
            store.put(key, bytes(size))
        assert [(entry.key, entry.size) for entry in store.list()] == [
            ("a/4", 3), ("a/b/1", 0), ("a/b/2", 1), ("a/bc/3", 2), ("z", 4),
        ]  # fmt: skip
        assert [entry.key for entry in store.list("a/b")] == ["a/b/1", "a/b/2"]
        assert isinstance(store.list("z" if store.list("z") else "a")[0].modified, datetime)
        assert store.list_folders() == ["a"]
        assert store.list_folders("a") == ["a/b", "a/bc"]

    def test_a_listing_of_many(self, store: Store) -> None:
        folder = store.at("many")
        for number in range(120):
            folder.put(f"{number:03}/x", b"")
        assert folder.list_folders() == [f"{number:03}" for number in range(120)]
        assert len(store.list()) == 120

    def test_sub_stores(self, store: Store) -> None:
        inner = store.at("a").at("b/c")
        inner.put("k", b"x")
        assert inner.at("").uri == inner.uri
        assert inner.uri.endswith("/a/b/c")
        assert store.get("a/b/c/k") == b"x"
        assert [entry.key for entry in inner.list()] == ["k"]
        assert store.at("a").list_folders() == ["b"]
        assert store.at("a").list_folders("b") == ["b/c"]

    def test_delete_and_clear(self, store: Store) -> None:
        for key in ("a/1", "a/2", "b/c/3", "b/4"):
            store.put(key, b"x")
        store.delete(["a/1", "a/none", "none"])
        assert [entry.key for entry in store.list()] == ["a/2", "b/4", "b/c/3"]
        store.clear("b")
        assert [entry.key for entry in store.list()] == ["a/2"]
        store.put("b/4", b"again")
        store.clear()
        assert store.list() == []
        store.put("a/1", b"again")
        assert store.get("a/1") == b"again"

    def test_pickles_and_reopens(self, store: Store) -> None:
        store.put("k", b"x")
        assert pickle.loads(pickle.dumps(store)).get("k") == b"x"
        assert open_store(store.uri).get("k") == b"x"
        assert pickle.loads(pickle.dumps(store.at("a"))).uri == store.at("a").uri
        copy = pickle.loads(pickle.dumps(store))
        copy.put("l", b"y")
        assert store.get("l") == b"y"

    def test_works_in_a_forked_child(self, store: Store) -> None:
        store.put("k", b"x")
        child = os.fork()
        if child == 0:
            try:
                os._exit(0 if store.get("k") == b"x" and len(store.list()) == 1 else 1)
            except BaseException:
                os._exit(2)
        assert os.waitpid(child, 0)[1] == 0

    def test_threads_share_a_store(self, store: Store) -> None:
        def work(number: int) -> bytes:
            store.put(f"deep/{number % 3}/{number}", str(number).encode())
            found = store.get(f"deep/{number % 3}/{number}")
            store.delete([f"deep/{number % 3}/{number}"])
            return found

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(work, range(64))) == [str(number).encode() for number in range(64)]
        assert store.list() == []
