"""Images in a folder per class, and columns that name files."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distmtl.data.importers.base import BATCH_BYTES
from distmtl.errors import SourceError
from tests.data.importers.laws import opened, rows_of


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def test_image_trees(tmp_path: Path) -> None:
    files = {"dog/b.jpg": b"3", "cat/x/2.PNG": b"2", "cat/1.jpg": b"1", "cat/notes.txt": b"?", "dog/.hidden.jpg": b"?"}
    raw = opened(write(tmp_path, files))
    assert rows_of(raw) == [
        {"image": b"1", "label": "cat"},
        {"image": b"2", "label": "cat"},
        {"image": b"3", "label": "dog"},
    ]
    assert raw.notes == ("2 files that are no images were left out",)
    before = raw.fingerprint()
    (tmp_path / "dog/b.jpg").rename(tmp_path / "cat/b.jpg")
    (tmp_path / "dog/c.jpg").write_bytes(b"3")
    assert opened(tmp_path).fingerprint() != before


def label_file(folder: Path, ending: str) -> Path:
    rows = [("sub/1.jpg", 0), (" 2.jpg ", 1), ("", 1), ("2.jpg", 0)]
    path = folder / f"labels.{ending}"
    if ending == "csv":
        path.write_text("file,y\n" + "".join(f"{name},{y}\n" for name, y in rows))
    elif ending == "jsonl":
        path.write_text("".join(f'{{"file": "{name}", "y": {y}}}\n' for name, y in rows))
    else:
        pq.write_table(pa.table({"file": [name or None for name, _ in rows], "y": [y for _, y in rows]}), path)
    return path


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("folder", [None, "images"])
def test_columns_that_name_files(tmp_path: Path, ending: str, folder: str | None) -> None:
    images = tmp_path / (folder or "")
    write(images, {"sub/1.jpg": b"one", "2.jpg": b"two"})
    path = label_file(tmp_path, ending)
    raw = opened(path, files={"file": None if folder is None else str(images)})
    found = rows_of(raw)
    assert [row["file"] for row in found] == [b"one", b"two", None, b"two"]
    assert [int(str(row["y"])) for row in found] == [0, 1, 1, 0]
    assert raw.text == (ending == "csv")
    before = raw.fingerprint()
    write(images, {"2.jpg": b"new"})
    assert raw.fingerprint() != before


@settings(deadline=None, max_examples=25)
@given(sizes=st.lists(st.integers(0, 3), min_size=1, max_size=8))
def test_large_files_make_small_batches(tmp_path_factory: pytest.TempPathFactory, sizes: list[int]) -> None:
    folder = tmp_path_factory.mktemp("x")
    write(folder, {f"{size}.bin": bytes([size]) * (size * BATCH_BYTES // 3) for size in set(sizes)})
    (folder / "a.csv").write_text("f,i\n" + "".join(f"{size}.bin,{i}\n" for i, size in enumerate(sizes)))
    found = rows_of(opened(folder / "a.csv", files={"f": None}))
    assert [row["i"] for row in found] == [str(i) for i in range(len(sizes))]
    assert [len(row["f"]) for row in found] == [size * BATCH_BYTES // 3 for size in sizes]  # type: ignore[arg-type]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    path = label_file(tmp_path, "csv")
    write(tmp_path, {"sub/1.jpg": b"one"})
    raw = opened(path, files={"file": None})
    for read in (lambda: list(raw.batches()), raw.fingerprint):
        with pytest.raises(SourceError, match=r"labels\.csv: row 2: .*2\.jpg.*--files COLUMN=FOLDER"):
            read()


def test_columns_that_do_not_name_files(tmp_path: Path) -> None:
    path = label_file(tmp_path, "parquet")
    with pytest.raises(SourceError, match=r"there is no column 'image'.*There are: file, y"):
        _ = opened(path, files={"image": None}).schema
    with pytest.raises(SourceError, match="column 'y' is of type int64"):
        _ = opened(path, files={"y": None}).schema
