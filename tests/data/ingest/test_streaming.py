"""The bytes of a source follow from rows and options alone: not from batches, threads, memory, or a kill."""

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distmtl.data.infer import TypingOptions
from distmtl.data.ingest import prepare
from distmtl.data.ingest.work import WorkFolder
from distmtl.data.options import PackOptions
from distmtl.data.packing import pack
from distmtl.data.source import open_source
from distmtl.data.verify import verify
from distmtl.errors import SourceError
from tests.data.ingest.inputs import CutInput, files_of, mixed_table, write_table

TEXT = TypingOptions(text=("note",))


def packed(folder: Path, name: str, inputs: Sequence[Any], **options: Any) -> dict[str, bytes]:
    pack(inputs, str(folder / name), PackOptions(typing=TEXT, block_rows=16, shard_bytes=3000, **options))
    assert not verify(open_source(str(folder / name))).problems
    return files_of(folder / name)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    rows=st.integers(1, 120),
    cuts=st.lists(st.lists(st.integers(1, 120), max_size=8), min_size=2, max_size=2),
    order=st.sampled_from(["shuffle", "keep"]),
    split=st.sampled_from([{}, {"group_by": "group"}, {"fractions": {"train": 0.6, "valid": 0.4}}]),
    threads=st.integers(1, 3),
)
def test_batches_memory_and_threads_change_nothing(
    rows: int, cuts: list[list[int]], order: str, split: dict[str, Any], threads: int
) -> None:
    tables = [mixed_table(rows), mixed_table(rows // 2 + 1, seed=1)]
    whole = [CutInput(table) for table in tables]
    pieces = [CutInput(table, tuple(where)) for table, where in zip(tables, cuts, strict=True)]
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        try:
            plain = packed(folder, "plain", whole, order=order, threads=1, **split)
        except SourceError as error:
            assert "no row is of split 'train'" in str(error)  # noqa: PT017 - a few groups may all go elsewhere
            return
        # So little room that there are many runs and many pieces.
        patch.setattr(prepare, "_BUDGET", 2000)
        patch.setattr(prepare, "_SMALLEST", 1000)
        spilled = packed(folder, "spilled", pieces, order=order, threads=threads, memory_bytes=0, **split)
        assert spilled == plain
        assert not list(folder.glob(".*"))  # the work folder is gone


def test_text_files_stream_alike(tmp_path: Path) -> None:
    """A column that looks like numbers for many batches may hold words."""
    cells = [str(i) for i in range(200)] + ["x", "y"] + ["007"]
    late = pa.table({"late": cells, "flag": ["true", "NA", "false"] * 67 + ["true", ""]})
    for name, cuts, memory in (("a", (), 2**20), ("b", tuple(range(0, 203, 7)), 0)):
        raw = CutInput(late, cuts, text=True)
        pack([raw], str(tmp_path / name), PackOptions(memory_bytes=memory))
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    source = open_source(str(tmp_path / "a"))
    assert source.column("late").kind == "categorical"
    assert "7" in source.column("late").vocabulary
    assert source.column("flag").kind == "numeric"


_PACK = """
import sys
from distmtl.data.infer import TypingOptions
from distmtl.data.ingest import prepare
from distmtl.data.ingest.work import WorkFolder
from distmtl.data.options import PackOptions
from distmtl.data.packing import pack
prepare._BUDGET = prepare._SMALLEST = 20_000
options = PackOptions(typing=TypingOptions(text=("note",)), block_rows=64, shard_bytes=20_000, memory_bytes=0)
def tell(progress):
    print(progress.stage, progress.rows, flush=True)
import distmtl.data.ingest.progress as module
module._INTERVAL = 0.0
pack([sys.argv[1]], sys.argv[2], options, progress=tell)
"""


def _start(path: str, out: Path) -> "subprocess.Popen[str]":
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-c", _PACK, path, str(out)], stdout=subprocess.PIPE, text=True,
                            env=environment)  # fmt: skip


def _kill_after(path: str, out: Path, stage: str, rows: int) -> None:
    """Start packing, and kill it once a stage has done so many rows."""
    with _start(path, out) as process:
        assert process.stdout is not None
        for line in process.stdout:
            now, done = line.split()
            if now == stage and int(done) >= rows:
                process.send_signal(signal.SIGKILL)
                break
        assert process.wait(60) == -signal.SIGKILL


@pytest.mark.parametrize(
    "kills",
    [
        [("convert", 1000)],
        [("write", 900), ("write", 1800)],
        *(
            pytest.param([(stage, rows)], marks=pytest.mark.slow)
            for stage, rows in (("scan", 1), ("write", 1), ("convert", 3000))
        ),
    ],
)
def test_a_killed_pack_goes_on_to_the_same_bytes(tmp_path: Path, kills: list[tuple[str, int]]) -> None:
    path = write_table(tmp_path, "rows.parquet", mixed_table(3000))
    with _start(path, tmp_path / "calm") as process:
        assert process.wait(60) == 0
    for stage, rows in kills:
        _kill_after(path, tmp_path / "out", stage, rows)
        assert not (tmp_path / "out" / "manifest.json").exists()
    with _start(path, tmp_path / "out") as process:
        assert process.stdout is not None
        stages = [line.split()[0] for line in process.stdout]
        assert process.wait(60) == 0
    assert files_of(tmp_path / "out") == files_of(tmp_path / "calm")
    assert not list(tmp_path.glob(".*"))
    if kills[-1][0] == "write":
        assert "scan" not in stages  # the rows were sorted already


def test_finished_shards_are_kept_and_damaged_ones_written_again(tmp_path: Path) -> None:
    path = write_table(tmp_path, "rows.parquet", mixed_table(3000))
    with _start(path, tmp_path / "calm") as process:
        assert process.wait(60) == 0
    _kill_after(path, tmp_path / "out", "write", 2000)
    done = sorted((tmp_path / "out").rglob("*.parquet"))
    recorded = {record.name.removesuffix(".json") for record in tmp_path.glob(".out.pack-*/*.parquet.json")}
    finished = [shard for shard in done if shard.name in recorded]
    assert len(finished) >= 2
    first, second = finished[0], finished[1]
    first.write_bytes(first.read_bytes()[:-1] + b"?")
    kept = second.stat().st_ino
    with _start(path, tmp_path / "out") as process:
        assert process.wait(60) == 0
    assert second.stat().st_ino == kept
    assert files_of(tmp_path / "out") == files_of(tmp_path / "calm")


def test_what_other_packs_left_is_removed(tmp_path: Path) -> None:
    path = write_table(tmp_path, "rows.parquet", mixed_table(3000))
    _kill_after(path, tmp_path / "out", "write", 1000)
    pack([path], str(tmp_path / "out"), PackOptions(seed=1))
    assert not verify(open_source(str(tmp_path / "out"))).problems
    assert len(list((tmp_path / "out").rglob("*.parquet"))) == len(open_source(str(tmp_path / "out")).manifest.shards)
    assert not list(tmp_path.glob(".*"))


def test_two_packs_of_the_same_files_do_not_meet(tmp_path: Path) -> None:
    path = write_table(tmp_path, "rows.parquet", mixed_table(3000))
    _kill_after(path, tmp_path / "out", "write", 1)
    (work,) = tmp_path.glob(".out.pack-*")
    with (work / "lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with _start(path, tmp_path / "out") as second:
            assert second.wait(60) != 0
    assert work.exists()


def test_a_failed_pack_removes_its_work_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from distmtl.data.publish import Publication

    path = write_table(tmp_path, "rows.parquet", mixed_table(100))
    monkeypatch.setattr(Publication, "write_blocks", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        pack([path], str(tmp_path / "out"), PackOptions(memory_bytes=0, work=str(tmp_path / "work")))
    assert not files_of(tmp_path / "out")
    assert not list((tmp_path / "work").iterdir())


def test_an_unwritable_work_folder_is_one_clear_line(tmp_path: Path) -> None:
    path = write_table(tmp_path, "rows.parquet", mixed_table(100))
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceError, match=r"work folder cannot be written: Not a directory.*--work"):
        pack([path], str(tmp_path / "out"), PackOptions(memory_bytes=0, work=str(tmp_path / "file")))
    folder = WorkFolder(tmp_path, "x", "y")
    folder.open()
    with pytest.raises(SourceError, match="GiB of work space"):
        folder.check_space(2**60)
    folder.close(remove=True)


def test_a_full_disk_is_one_clear_line(tmp_path: Path) -> None:
    path = write_table(tmp_path, "rows.parquet", mixed_table(3000))
    # No file may grow past 10 kB: what a full disk says, said without filling one.
    code = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n" + _PACK
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, path, str(tmp_path / "out")]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment)
    last = ended.stderr.splitlines()[-1]
    assert "the work folder cannot be written: File too large. Free some space" in last
    assert not list(tmp_path.glob(".*"))
    assert not (tmp_path / "out").exists()


def test_groups_never_cross_splits(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    groups = random.integers(0, 300, 20_000)
    table = pa.table({"user": groups, "x": random.random(20_000)})
    shares = {"train": 0.7, "valid": 0.2, "test": 0.1}
    for seed in range(3):
        out = str(tmp_path / str(seed))
        manifest = pack([CutInput(table, (777,))], out, PackOptions(group_by="user", fractions=shares, seed=seed))
        source = open_source(out)
        users = {
            name: {
                user
                for block in range(source.split(name).blocks)
                for user in source.split(name).read_block(block, ["user"])["user"].to_pylist()
            }
            for name in shares
        }
        assert sum(map(len, users.values())) == len(set.union(*users.values())) == 300
        for name, share in shares.items():  # as near as a boundary between two groups can be
            assert abs(manifest.splits[name].rows / 20_000 - share) < 0.01
    first, other = (set(files_of(tmp_path / name)) for name in "01")
    assert first != other


def test_groups_have_values(tmp_path: Path) -> None:
    table = pa.table({"user": pa.array([1, None]), "x": [1, 2]})
    with pytest.raises(SourceError, match="'user', which decides the splits, is null in 1 rows"):
        pack([CutInput(table)], str(tmp_path / "out"), PackOptions(group_by="user"))
    with pytest.raises(SourceError, match="no column of groups 'usr'"):
        pack([CutInput(table)], str(tmp_path / "out"), PackOptions(group_by="usr"))
