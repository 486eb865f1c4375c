"""Which inputs paths, globs and folders name."""

import gzip
import json
from pathlib import Path

import pytest

from distmtl.data.importers import ImportOptions, RowsInput, expand_files, open_inputs, stem
from distmtl.errors import SourceError

GOLDEN = Path(__file__).parent / "golden"


def write(folder: Path, name: str, text: str = "x\n1\n") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def found(*patterns: object, below: Path) -> list[str]:
    return [str(Path(path).relative_to(below)) for path in expand_files([str(pattern) for pattern in patterns])]


def test_files_are_found(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv.gz", "notes.md", "c.parquet", "d.tar.gz", "e.jsonl", "settings.json", "f.tar.zst"):
        write(tmp_path, name)
    names = ["a.csv.gz", "b.csv", "c.parquet", "d.tar.gz", "e.jsonl"]
    assert found(tmp_path, below=tmp_path) == names
    assert found(tmp_path / "*.csv*", tmp_path / "b.csv", below=tmp_path) == names[:2]
    assert found(tmp_path / "settings.json", below=tmp_path) == ["settings.json"]


@pytest.mark.parametrize("pattern", ["nowhere.csv", "no*.csv", "s3://bucket/a.csv"])
def test_missing_files_are_named(tmp_path: Path, pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match="file") as caught:
        expand_files([pattern])
    assert pattern in str(caught.value)


def test_folder_without_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="has no file"):
        expand_files([str(tmp_path)])
    write(tmp_path, "1.png")
    with pytest.raises(SourceError, match="folder for each class"):
        expand_files([str(tmp_path)])


def test_folders_that_are_data_sets() -> None:
    assert found(GOLDEN / "mds", below=GOLDEN) == ["mds/test", "mds/train", "mds/val"]
    assert found(GOLDEN / "mds" / "val", below=GOLDEN) == ["mds/val"]
    assert found(GOLDEN / "mds" / "*", below=GOLDEN) == ["mds/test", "mds/train", "mds/val"]
    assert found(GOLDEN / "datasets", below=GOLDEN) == ["datasets/train", "datasets/validation"]
    assert found(GOLDEN / "datasets" / "train", below=GOLDEN) == ["datasets/train"]


def test_image_trees(tmp_path: Path) -> None:
    for name in ("train/cat/1.jpg", "train/dog/2.PNG", "valid/cat/3.jpg", "notes.md"):
        write(tmp_path, name)
    assert found(tmp_path, below=tmp_path) == ["train", "valid"]
    assert found(tmp_path / "train", below=tmp_path) == ["train"]
    write(tmp_path, "train/labels.csv")
    assert found(tmp_path / "train", below=tmp_path) == ["train/labels.csv"]


def test_the_splits_of_a_data_set_stay_in_its_folder(tmp_path: Path) -> None:
    write(tmp_path, "dataset_dict.json", json.dumps({"splits": ["../other"]}))
    with pytest.raises(SourceError, match="does not list the splits"):
        expand_files([str(tmp_path)])


@pytest.mark.parametrize(
    ("path", "name"),
    [("a/train.csv.gz", "train"), ("x/train", "train"), ("train-0001.tar.gz", "train-0001"), ("t.tgz", "t")],
)
def test_stem(path: str, name: str) -> None:
    assert stem(path) == name


def test_other_endings_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "a.xlsx")
    with pytest.raises(SourceError, match=r"'\.xlsx' cannot be packed"):
        open_inputs([str(path)], ImportOptions())
    path.with_suffix(".parquet.gz").write_bytes(gzip.compress(b""))
    with pytest.raises(SourceError, match="cannot be packed"):
        open_inputs([str(path.with_suffix(".parquet.gz"))], ImportOptions())


def test_objects_stand_beside_paths(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv")
    rows = RowsInput(lambda: [{"x": 1}])
    assert open_inputs([str(path), rows, str(path)], ImportOptions())[1] is rows
    assert len(open_inputs([str(path), rows, str(path)], ImportOptions())) == 2
    with pytest.raises(SourceError, match="type int"):
        open_inputs([3], ImportOptions())  # type: ignore[list-item]
