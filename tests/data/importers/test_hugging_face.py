"""Hugging Face ``datasets``: folders that the library wrote (see golden/README.md), and its objects in memory."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distmtl.data.importers import ImportOptions, open_inputs, stem
from distmtl.errors import SourceError
from tests.data.importers.laws import opened, rows_of

GOLDEN = Path(__file__).parent / "golden" / "datasets"
ROWS = [
    {"label": "cat", "text": "x", "ids": [1, 2], "grid": [[0, 1], [2, 3]], "meta.score": 0.5, "meta.kind": "a"},
    {"label": "dog", "text": "é", "ids": [], "grid": [[4, 5], [6, 7]], "meta.score": 1.5, "meta.kind": "b"},
    {"label": None, "text": None, "ids": [3], "grid": [[8, 9], [1, 2]], "meta.score": 2.5, "meta.kind": "b"},
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN / "train", tmp_path / "train"))


def without_images(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    for row in rows:
        image = row.pop("image")
        assert image is None if row["label"] is None else bytes(image).startswith(b"\x89PNG")  # type: ignore[call-overload]
    return rows


def test_a_saved_dataset_dict() -> None:
    train, valid = open_inputs([str(GOLDEN)], ImportOptions())
    assert [stem(raw.path) for raw in (train, valid)] == ["train", "validation"]
    assert without_images(rows_of(train)) == ROWS
    assert without_images(rows_of(valid)) == [ROWS[2], ROWS[0]]
    assert train.schema.field("image").type == pa.binary()
    assert train.schema.field("label").type == pa.string()


def test_features_in_the_metadata_of_a_file_count_too(folder: Path) -> None:
    file = str(folder / "data-00000-of-00002.arrow")
    assert without_images(rows_of(opened(file))) == ROWS[:2]
    with pa.memory_map(file) as source:
        table = pa.ipc.open_stream(source).read_all()
    pq.write_table(table.drop_columns(["grid"]), folder / "a.parquet")
    assert [row["label"] for row in rows_of(opened(folder / "a.parquet"))] == ["cat", "dog"]


def test_an_image_that_names_its_file(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"png")
    features = {"info": {"features": {"image": {"_type": "Image"}}}}
    images = [{"bytes": None, "path": str(tmp_path / "1.png")}, {"bytes": b"x", "path": "gone.png"}, None]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"image": pa.array(images, kind)}).replace_schema_metadata({"huggingface": json.dumps(features)})
    pq.write_table(table, tmp_path / "a.parquet")
    assert [row["image"] for row in rows_of(opened(tmp_path / "a.parquet"))] == [b"png", b"x", None]
    (tmp_path / "1.png").unlink()
    with pytest.raises(SourceError, match=r"1\.png"):
        list(opened(tmp_path / "a.parquet").batches())


class Memory:
    """A ``datasets.Dataset``, as far as it is used."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table
        self.features = SimpleNamespace(arrow_schema=table.schema)

    def __len__(self) -> int:
        return self.table.num_rows

    def with_format(self, kind: str) -> "Memory":
        assert kind == "arrow"
        return self

    def __getitem__(self, rows: slice) -> pa.Table:
        return self.table.slice(rows.start, rows.stop - rows.start)


def test_a_dataset_in_memory(folder: Path) -> None:
    with pa.memory_map(str(folder / "data-00000-of-00002.arrow")) as source:
        table = pa.ipc.open_stream(source).read_all()
    table = pa.concat_tables([table] * 300)
    (raw,) = open_inputs([Memory(table)], ImportOptions())
    assert without_images(rows_of(raw)) == ROWS[:2] * 300
    inputs = open_inputs([{"train": Memory(table), "test": Memory(table.slice(0, 1))}], ImportOptions())
    assert (inputs[0].path, inputs[0].fingerprint()) == ("train", raw.fingerprint())
    assert without_images(rows_of(inputs[1])) == ROWS[:1]


def change(file: Path, **values: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


@pytest.mark.parametrize(
    ("file", "values", "message"),
    [
        ("state.json", {"_indices_data_files": [{"filename": "x"}]}, "old version"),
        ("state.json", {"_data_files": [{"filename": "../x.arrow"}]}, "no files of this folder"),
        ("state.json", {"_data_files": 3}, "does not list the files"),
        ("state.json", {"_data_files": [{"filename": "gone.arrow"}]}, "cannot be read"),
        ("dataset_info.json", {"features": {"label": {"_type": "ClassLabel", "names": ["cat"]}}}, "holds class 1"),
    ],
)
def test_folders_that_do_not_fit(folder: Path, file: str, values: dict[str, object], message: str) -> None:
    change(folder / file, **values)
    with pytest.raises(SourceError, match=message):
        list(opened(folder).batches())


def test_a_class_of_minus_one_is_not_known(folder: Path) -> None:
    table = pa.table({"y": [0, -1, 1]})
    features = {"info": {"features": {"y": {"_type": "ClassLabel", "names": ["a", "b"]}}}}
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(features)}), folder / "a.parquet")
    assert [row["y"] for row in rows_of(opened(folder / "a.parquet"))] == ["a", None, "b"]


def test_damaged_files_are_named(folder: Path) -> None:
    file = folder / "data-00001-of-00002.arrow"
    file.write_bytes(file.read_bytes()[:-500])
    with pytest.raises(SourceError) as caught:
        list(opened(folder).batches())
    assert caught.value.where == str(file)
    (folder / "state.json").write_text("{")
    with pytest.raises(SourceError, match="not JSON"):
        _ = opened(folder).schema
