"""WebDataset: tar files of samples."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distmtl.data.importers.base import BATCH_BYTES
from distmtl.errors import SourceError
from tests.data.importers.laws import opened, rows_of


def write(path: Path, members: list[tuple[str, bytes]], mode: str = "w", form: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, mode, format=form) as archive:  # type: ignore[call-overload]
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def npy(values: object) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(values))
    return file.getvalue()


MEMBERS = [
    ("__meta__", b"?"),
    ("a/0001.jpg", b"\xff\xd8"),
    ("a/0001.cls", b"3\n"),
    ("a/0001.json", json.dumps({"n": 1, "inner": {"word": "x"}}).encode()),
    ("a/0002.JPG", b""),
    ("a/0002.left.txt", "é".encode()),
    ("a/0002.json", json.dumps({"n": 2.5, "more": None}).encode()),
    ("b/0001.npy", npy([[1, 2], [3, 4]])),
    ("b/0001.cls", b"-1"),
]


@pytest.mark.parametrize(
    ("name", "mode"), [("a.tar", "w"), ("a.tar.gz", "w:gz"), ("a.tgz", "w:gz"), ("a.tar.bz2", "w:bz2")]
)
@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_columns_follow_from_endings(tmp_path: Path, name: str, mode: str, form: int) -> None:
    raw = opened(write(tmp_path / name, MEMBERS, mode, form))
    empty: dict[str, object] = dict.fromkeys(raw.schema.names)
    assert rows_of(raw) == [
        empty | {"__key__": "a/0001", "jpg": b"\xff\xd8", "cls": 3, "json.n": 1.0, "json.inner.word": "x"},
        empty | {"__key__": "a/0002", "jpg": b"", "left.txt": "é", "json.n": 2.5},
        empty | {"__key__": "b/0001", "npy": [[1, 2], [3, 4]], "cls": -1},
    ]
    kinds = dict(zip(raw.schema.names, raw.schema.types, strict=True))
    assert (kinds["cls"], kinds["left.txt"], kinds["jpg"]) == (pa.int64(), pa.string(), pa.binary())
    assert kinds["npy"] == pa.list_(pa.list_(pa.int64()))


@settings(deadline=None)
@given(
    samples=st.lists(
        st.dictionaries(st.sampled_from(["jpg", "bin", "json", "txt"]), st.integers(0, 1500), min_size=1),
        min_size=1,
        max_size=8,
    )
)
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, samples: list[dict[str, int]]) -> None:
    members, expected = [], []
    for i, sample in enumerate(samples):
        row: dict[str, object] = {"__key__": f"{i:05d}"}
        for ending, size in sample.items():
            text = "x" * size
            members.append((f"{i:05d}.{ending}", f'"{text}"'.encode() if ending == "json" else text.encode()))
            row[ending] = text if ending in {"json", "txt"} else text.encode()
        expected.append(row)
    raw = opened(write(tmp_path_factory.mktemp("x") / "a.tar", members))
    assert rows_of(raw) == [dict.fromkeys(raw.schema.names) | row for row in expected]


def test_archives_larger_than_a_batch(tmp_path: Path) -> None:
    data = [bytes([i]) * (BATCH_BYTES // 3) for i in range(10)]
    raw = opened(write(tmp_path / "a.tar", [(f"{i}.bin", part) for i, part in enumerate(data)]))
    assert [row["bin"] for row in rows_of(raw)] == data
    assert len(list(raw.batches())) >= 4


@pytest.mark.parametrize(("name", "mode"), [("a.tar", "w"), ("a.tar.gz", "w:gz")])
def test_an_archive_that_ends_early(tmp_path: Path, name: str, mode: str) -> None:
    members = [(f"{i}.bin", np.random.default_rng(i).bytes(1000)) for i in range(5)]
    path = write(tmp_path / name, members, mode)
    data = path.read_bytes()
    end = 5 * 1536 if mode == "w" else len(data)
    for length in [0, 100, 512, 1000, 1536, 3000, 3072, 4096, end - 10, *([end] if mode == "w" else [])]:
        path.write_bytes(data[:length])
        with pytest.raises(SourceError, match=r"Fetch|whole") as caught:
            list(opened(path).batches())
        assert caught.value.where == str(path)


def test_a_damaged_header_is_not_the_end(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", [(f"{i}.bin", bytes(1000)) for i in range(5)])
    data = bytearray(path.read_bytes())
    data[2 * 1536 + 3] ^= 1
    path.write_bytes(data)
    with pytest.raises(SourceError, match="header at byte 3072"):
        list(opened(path).batches())


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("1.cls", b"1"), ("2.cls", b"cat")], r"'2\.cls' is not what its ending says.*--drop cls"),
        ([("1.json", b"{")], r"'1\.json' is not what its ending says"),
        ([("1.txt", b"\xff")], r"'1\.txt' is not"),
        ([("1.npy", b"12")], r"'1\.npy' is not"),
        ([("1.npy", npy(np.array([{}], object)))], r"'1\.npy' is not.*allow_pickle=False"),
        ([("1.jpg", b""), ("1.JPG", b"")], "comes twice"),
        ([("1.json", b'{"a":1}'), ("2.json", b'{"a":"x"}')], r"sample '2': 'json\.a' is a string, but a number"),
        ([("README", b"")], "no rows"),
        ([], "no rows"),
    ],
)
def test_members_that_do_not_fit(tmp_path: Path, members: list[tuple[str, bytes]], message: str) -> None:
    path = write(tmp_path / "a.tar", members)
    with pytest.raises(SourceError, match=message) as caught:
        list(opened(path).batches())
    assert caught.value.where == str(path)


def test_dropped_columns_may_hold_anything(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", [("1.cls", b"cat"), ("1.json", b"{"), ("1.txt", b"x")])
    found = rows_of(opened(path, drop=("cls", "json")))
    assert found == [{"__key__": "1", "cls": None, "json": None, "txt": "x"}]


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", [("1.pkl", b"cos\nsystem\n(S'false'\ntR.")])
    assert rows_of(opened(path)) == [{"__key__": "1", "pkl": b"cos\nsystem\n(S'false'\ntR."}]
