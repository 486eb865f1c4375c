"""The cache of a node's disk, with real processes that are killed, stopped and refused."""

import contextlib
import multiprocessing
import os
import pickle
import random
import resource
import signal
import time
import warnings
from collections.abc import Callable
from fcntl import LOCK_EX, flock
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import xxhash

from distmtl.data.node_cache import NodeCache, default_folder

SPAWN = multiprocessing.get_context("spawn")
KIB = 1024


def block(number: int, size: int = 10 * KIB) -> bytes:
    return random.Random(number).randbytes(size)


def get(cache: NodeCache, data: bytes, fetch: Callable[[], bytes] | None = None) -> bytes:
    return bytes(cache.get(xxhash.xxh3_64_intdigest(data), len(data), fetch or (lambda: data)))


def refuse() -> bytes:
    raise AssertionError("it should have been in the cache")


def blocks_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("[0-9a-f][0-9a-f]/*.block"))


def wait_for(condition: Callable[[], object], timeout_s: float = 30.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def total_bytes(folder: Path) -> int:
    """Bytes of blocks and parts, while nobody may add or evict any; one that is renamed meanwhile counts once."""
    sizes: dict[int, int] = {}
    with (folder / "size").open("ab") as accounts:
        flock(accounts, LOCK_EX)
        for path in folder.glob("[0-9a-f][0-9a-f]/*"):
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                sizes[status.st_ino] = status.st_size
    return sum(sizes.values())


def test_a_block_is_fetched_once_and_then_found(tmp_path: Path) -> None:
    cache, data = NodeCache(tmp_path / "cache"), block(0)
    assert get(cache, data) == data
    assert get(NodeCache(tmp_path / "cache"), data, refuse) == data
    assert get(pickle.loads(pickle.dumps(cache)), data, refuse) == data
    assert [path.stat().st_size for path in blocks_in(tmp_path / "cache")] == [len(data)]


def test_nothing_is_made_before_the_first_block(tmp_path: Path) -> None:
    NodeCache(tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_what_a_fetch_raises_passes_through_and_nothing_is_kept(tmp_path: Path) -> None:
    cache = NodeCache(tmp_path)
    with pytest.raises(AssertionError, match="should have been"):
        get(cache, block(0), refuse)
    assert blocks_in(tmp_path) == []
    assert get(cache, block(0)) == block(0)


@pytest.mark.parametrize(
    "spoil", [lambda data: data[:-1] + bytes([data[-1] ^ 4]), lambda data: data[:99], lambda _: b""]
)
def test_a_damaged_block_is_found_out_and_fetched_again(tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    cache, data = NodeCache(tmp_path), block(1)
    get(cache, data)
    (kept,) = blocks_in(tmp_path)
    kept.write_bytes(spoil(data))
    fetched = []
    assert get(cache, data, lambda: fetched.append(1) or data) == data
    assert fetched == [1]
    assert kept.read_bytes() == data


def test_the_least_recently_used_blocks_leave(tmp_path: Path) -> None:
    cache = NodeCache(tmp_path, 10 * 10 * KIB)
    for number in range(10):
        get(cache, block(number))
        os.utime(blocks_in(tmp_path)[0], None)
    for number, path in enumerate(sorted(blocks_in(tmp_path), key=lambda path: path.stat().st_mtime_ns)):
        os.utime(path, (number, number))  # long ago
    wanted = [block(number) for number in (2, 5)]
    for data in wanted:
        get(cache, data, refuse)
    for number in range(100, 106):
        get(cache, block(number))
    assert total_bytes(tmp_path) <= 10 * 10 * KIB
    for data in wanted:
        get(cache, data, refuse)


def test_a_block_larger_than_the_cache_is_not_kept(tmp_path: Path) -> None:
    cache = NodeCache(tmp_path, 5 * KIB)
    assert get(cache, block(0)) == block(0)
    assert blocks_in(tmp_path) == []


def test_accounts_that_are_lost_or_damaged_are_made_anew(tmp_path: Path) -> None:
    limit = 5 * 10 * KIB
    for damage in (
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b"what"),
        lambda path: path.write_bytes(b""),
    ):
        for number in range(20):
            get(NodeCache(tmp_path, limit), block(number))
            assert total_bytes(tmp_path) <= limit
        damage(tmp_path / "size")


def test_what_is_not_the_caches_is_left_alone(tmp_path: Path) -> None:
    cache, outside = tmp_path / "cache", tmp_path / "outside"
    name = f"{'0' * 16}-10240.block"
    foreign = [
        cache / "notes.txt",
        cache / "ab/thesis.tex",
        cache / "ab/12-3.block",
        cache / "abc" / name,
        cache / name,
    ]
    foreign += [outside / name, cache / "ab" / f"{'0' * 16}-1.part", cache / "locks/readme"]
    for path in foreign:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(10 * KIB))
    (cache / "00").symlink_to(outside)
    (cache / "cd").mkdir()
    (cache / "cd" / f"{'c' * 16}-10240.block").symlink_to(outside / name)
    (cache / "ef" / f"{'e' * 16}-10240.block").mkdir(parents=True)
    for number in range(60):
        get(NodeCache(cache, 5 * 10 * KIB), block(number))
    assert all(path.stat().st_size == 10 * KIB for path in foreign)
    assert (cache / "cd" / f"{'c' * 16}-10240.block").is_symlink()
    assert (cache / "ef" / f"{'e' * 16}-10240.block").is_dir()
    damaged = next(data for data in map(block, range(10_000)) if xxhash.xxh3_64_intdigest(data) >> 56 == 0)
    there = outside / f"{xxhash.xxh3_64_intdigest(damaged):016x}-{len(damaged)}.block"
    there.write_bytes(b"it only looks like a block")
    assert get(NodeCache(cache), damaged) == damaged
    assert there.read_bytes() == b"it only looks like a block"


def test_parts_of_dead_processes_go_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    dead, alive = (tmp_path / f"{c * 2}/{c * 16}-10240.{'0' * 16}.part" for c in "ab")
    for path in (dead, alive):
        path.parent.mkdir()
        path.write_bytes(bytes(10 * KIB))
    with alive.open("rb") as file:
        flock(file, LOCK_EX)
        for number in range(10):
            get(NodeCache(tmp_path, 5 * 10 * KIB), block(number))
            assert total_bytes(tmp_path) <= 5 * 10 * KIB
        assert alive.exists()
    assert not dead.exists()


def test_a_folder_that_cannot_be_made_costs_one_warning(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    cache = NodeCache(tmp_path / "file" / "cache")
    assert cache.problem() is not None
    with pytest.warns(RuntimeWarning, match=r"cannot be kept here \(Not a directory\)"):
        assert get(cache, block(0)) == block(0)
    for number in range(5):  # a second warning would be an error
        assert get(cache, block(number)) == block(number)


def test_a_good_folder_is_no_problem(tmp_path: Path) -> None:
    assert NodeCache(tmp_path / "new").problem() is None
    assert list((tmp_path / "new").iterdir()) == []


def test_the_default_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTMTL_CACHE_DIR", str(tmp_path))
    assert default_folder() == tmp_path
    monkeypatch.delenv("DISTMTL_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert default_folder() == Path("/xdg/distmtl/blocks")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/ann")
    assert default_folder() == Path("/home/ann/.cache/distmtl/blocks")


# From here on with processes of their own.


def start(target: Callable[..., None], *args: object) -> BaseProcess:
    process = SPAWN.Process(target=target, args=args, daemon=True)
    process.start()
    return process


def join(*processes: BaseProcess) -> None:
    for process in processes:
        process.join(60)
        assert process.exitcode == 0


def note(log: Path, text: str) -> None:
    """Append a line; whole lines from many processes."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, f"{text}\n".encode())
    os.close(descriptor)


def _fetch_all(folder: Path, log: Path, ready: Path, numbers: list[int]) -> None:
    cache = NodeCache(folder)
    note(ready, "here")
    wait_for((ready.parent / "go").exists)
    for number in numbers:

        def fetch(number: int = number) -> bytes:
            note(log, str(number))
            time.sleep(0.05)
            return block(number)

        assert get(cache, block(number), fetch) == block(number)


def test_processes_that_want_the_same_blocks_fetch_each_once(tmp_path: Path) -> None:
    log, ready = tmp_path / "fetched", tmp_path / "ready"
    numbers = list(range(12))
    orders = [numbers, numbers, numbers[::-1], numbers[6:] + numbers[:6]]
    workers = [start(_fetch_all, tmp_path / "cache", log, ready, order) for order in orders]
    wait_for(lambda: ready.exists() and len(ready.read_text().split()) == len(workers))
    (tmp_path / "go").touch()
    join(*workers)
    assert sorted(map(int, log.read_text().split())) == numbers


def _hold(folder: Path, marker: Path) -> None:
    def fetch() -> bytes:
        marker.touch()
        time.sleep(300)
        return block(0)

    get(NodeCache(folder), block(0), fetch)


def _want(folder: Path, marker: Path) -> None:
    marker.touch()
    assert get(NodeCache(folder), block(0)) == block(0)


def test_a_holder_that_is_killed_lets_the_next_one_fetch(tmp_path: Path) -> None:
    holder = start(_hold, tmp_path / "cache", tmp_path / "held")
    wait_for((tmp_path / "held").exists)
    waiter = start(_want, tmp_path / "cache", tmp_path / "waits")
    wait_for((tmp_path / "waits").exists)
    time.sleep(0.3)
    assert waiter.is_alive()
    assert blocks_in(tmp_path / "cache") == []
    holder.kill()
    holder.join()
    killed = time.monotonic()
    join(waiter)
    assert time.monotonic() - killed < 10
    assert get(NodeCache(tmp_path / "cache"), block(0), refuse) == block(0)


def test_a_holder_that_hangs_is_not_waited_for_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distmtl.data.node_cache.TURN_S", 0.2)
    holder = start(_hold, tmp_path / "cache", tmp_path / "held")
    wait_for((tmp_path / "held").exists)
    os.kill(holder.pid or 0, signal.SIGSTOP)
    try:
        assert get(NodeCache(tmp_path / "cache"), block(0)) == block(0)
    finally:
        holder.kill()
        holder.join()


def _churn(folder: Path, limit: int, seed: int) -> None:
    """Fetch blocks for ever; each may be evicted at once."""
    numbers, cache = random.Random(seed), NodeCache(folder, limit)
    while True:
        data = block(numbers.randrange(40), 200 * KIB)
        assert get(cache, data) == data


def test_processes_killed_at_any_moment_leave_whole_blocks_below_the_limit(tmp_path: Path) -> None:
    limit = 10 * 200 * KIB
    moments = random.Random(3)
    for round_ in range(6):
        workers = [start(_churn, tmp_path, limit, 10 * round_ + i) for i in range(3)]
        before = {path.name for path in blocks_in(tmp_path)}
        wait_for(lambda seen=before: {path.name for path in blocks_in(tmp_path)} - seen)  # type: ignore[misc]
        end = time.monotonic() + moments.uniform(0.05, 0.3)
        while time.monotonic() < end:
            assert total_bytes(tmp_path) <= limit
        for worker in workers:
            assert worker.is_alive()
            worker.kill()
            worker.join()
        for path in blocks_in(tmp_path):
            assert path.name == f"{xxhash.xxh3_64_hexdigest(path.read_bytes())}-{200 * KIB}.block"
    cache = NodeCache(tmp_path, limit)
    for number in range(30):
        assert get(cache, block(number, 200 * KIB)) == block(number, 200 * KIB)
    assert list(tmp_path.glob("*/*.part")) == []
    assert total_bytes(tmp_path) <= limit


def _on_a_full_disk(folder: Path, log: Path) -> None:
    """No file of this process may grow beyond 64 KiB: the kernel refuses the rest, as a full disk does."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        cache = NodeCache(folder)
        get(cache, block(0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (64 * KIB, 64 * KIB))
        for number in range(1, 5):
            assert get(cache, block(number, 100 * KIB)) == block(number, 100 * KIB)
        assert get(cache, block(0), refuse) == block(0)  # what is there is still of use
    note(log, "\n".join(str(warning.message) for warning in caught))


def test_a_full_disk_costs_one_warning(tmp_path: Path) -> None:
    log = tmp_path / "warnings"
    join(start(_on_a_full_disk, tmp_path / "cache", log))
    (warning,) = log.read_text().splitlines()
    assert "File too large" in warning
    assert "launch.cache" in warning
    assert [path.name for path in (tmp_path / "cache").glob("*/*.part")] == []
    assert len(blocks_in(tmp_path / "cache")) == 1
