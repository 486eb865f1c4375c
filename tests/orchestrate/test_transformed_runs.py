"""Whole runs over text, images and sequences: one result whoever transforms, at any world size, after any kill."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from distmtl.checkpoint.commit import find
from distmtl.checkpoint.run import open_run_uri
from distmtl.config import parse_config
from distmtl.config.run import RunConfig
from distmtl.data.infer import TypingOptions
from distmtl.data.options import PackOptions
from distmtl.data.packing import pack
from distmtl.errors import ConfigError
from distmtl.orchestrate import evaluate, train
from distmtl.orchestrate.check import check
from tests.runs import curve, tensors

WORDS = ["good", "bad", "film", "book", "plot", "dull", "fine", "long", "short", "old", "new"]
ROWS = {"reviews": 500, "news": 150}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    for number, (name, rows) in enumerate(ROWS.items()):
        for split, count in (("train", rows), ("valid", 60), ("test", 60)):
            (folder / "raw" / name).mkdir(parents=True, exist_ok=True)
            pq.write_table(_table(count, 7 * number + len(split)), folder / "raw" / name / f"{split}.parquet")
        options = PackOptions(block_rows=32, typing=TypingOptions(text=("title", "text")))
        pack([str(folder / "raw" / name)], str(folder / name), options)
    (folder / "words.txt").write_text("\n".join(WORDS[2:]))
    return folder


def _table(rows: int, seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    texts = [" ".join(rng.choice(WORDS, rng.integers(0, 12))) for _ in range(rows)]
    photos = []
    for _ in range(rows):
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (9, 9), np.uint8)).save(file, "PNG")
        photos.append(file.getvalue())
    return pa.table(
        {
            "text": texts,
            "title": [text[: text.find(" ")] if rng.random() < 0.5 else None for text in texts],
            "clicks": pa.array([list(rng.integers(0, 9, rng.integers(0, 5))) for _ in texts], pa.list_(pa.int32())),
            "photo": pa.array(photos, pa.binary()),
            "y": [int(text.count("good") > text.count("bad")) for text in texts],
        }
    )


def config(folder: Path, store: Path, name: str = "run", **sections: Any) -> RunConfig:
    transforms = [
        {"kind": "hash_words", "columns": ["text", "title"], "buckets": 97, "max_length": 9},
        {"kind": "vocabulary", "column": "text", "file": str(folder / "words.txt"), "split": True, "into": "known"},
        {"kind": "sequence", "column": "clicks", "size": 9, "pad": 0, "lengths": "count"},
        {"kind": "image", "column": "photo", "size": 8, "mode": "grey", "dtype": "float32"},
        {"kind": "random_crop", "column": "photo", "size": 6, "pad": 1},
        {"kind": "random_flip", "column": "photo"},
    ]
    inputs = {"tokens": "tokens", "known": "known", "clicks": "clicks", "photo": "photo"}
    values: dict[str, Any] = {
        "name": name,
        "seed": 3,
        "sources": {
            source: {"uri": str(folder / source), "inputs": inputs, "transforms": transforms} for source in ROWS
        },
        "tasks": {f"y_{source}": {"source": source, "target": "y", "kind": "binary"} for source in ROWS},
        "model": {"kind": "hard_sharing", "trunk": {"kind": "tabular_mlp", "hidden": [16], "dropout": 0.1}},
        "batch": {"rows": 40, "lanes": 5, "window_blocks": 2, "micro_rows": 17},
        "optim": {"kind": "adamw", "lr": 0.01},
        "train": {"steps": 40, "log_every": 1, "eval_every": 20, "precision": "fp64"},
        "checkpoint": {"every": 10, "keep_last": 9},
        "store": str(store),
        "launch": {"runtime": "inline", "workers": 1},
    }
    for key, section in sections.items():
        values[key] = values[key] | section
    return parse_config(values)


@pytest.fixture(scope="module")
def alone(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return train(config(folder, tmp_path_factory.mktemp("alone")))


def assert_same(run: str, other: str, tolerance: float) -> None:
    lines, others = curve(run), curve(other)
    assert lines.keys() == others.keys()
    for step, line in lines.items():
        assert line["loss"] == pytest.approx(others[step]["loss"], rel=tolerance, abs=tolerance)
    expected = tensors(other)
    for name, tensor in tensors(run).items():
        torch.testing.assert_close(tensor, expected[name], rtol=tolerance, atol=tolerance, msg=name)


@pytest.mark.parametrize(
    ("runtime", "workers", "transform_workers"),
    [
        ("inline", 1, 2),
        pytest.param("torchrun", 2, 1, marks=pytest.mark.dist),
        pytest.param("torchrun", 3, 0, marks=[pytest.mark.dist, pytest.mark.slow]),
        pytest.param("ray", 2, 1, marks=[pytest.mark.ray, pytest.mark.slow]),
    ],
)
def test_a_run_does_not_depend_on_who_transforms(
    folder: Path, tmp_path: Path, alone: Any, runtime: Any, workers: int, transform_workers: int
) -> None:
    batch = {"transform_workers": transform_workers}
    result = train(config(folder, tmp_path, batch=batch), runtime=runtime, workers=workers)
    assert_same(result.run, alone.run, 0.0 if workers == 1 else 1e-10)
    for task, metrics in alone.tasks.items():
        assert result.tasks[task] == pytest.approx(metrics, rel=1e-9)


def test_a_killed_run_goes_on_bit_for_bit(folder: Path, tmp_path: Path, alone: Any) -> None:
    train(config(folder, tmp_path, batch={"transform_workers": 1}))
    run = open_run_uri(str(tmp_path / "run"))
    for ref in find(run):
        if ref.step > 20:
            run.store.clear(ref.key)
    resumed = train(config(folder, tmp_path))
    assert_same(resumed.run, alone.run, 0.0)
    assert resumed.tasks == alone.tasks


def test_evaluation_and_check_see_transformed_rows(folder: Path, alone: Any, tmp_path: Path) -> None:
    measured = evaluate(alone.run, split="test").tasks
    assert measured["y_reviews"]["auroc"] > 0.7
    report = check(config(folder, tmp_path))
    assert report.pace is not None
    assert report.memory.batch_bytes > 40 * (9 + 12 + 4) * 8


def test_a_run_does_not_go_on_with_another_file(folder: Path, tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("good\nbad")

    def given(path: Path, steps: int) -> RunConfig:
        values = config(folder, tmp_path, train={"steps": steps}).model_dump(mode="json")
        for source in values["sources"].values():
            source["transforms"][1]["file"] = str(path)
        return parse_config(values)

    result = train(given(words, 10))
    elsewhere = tmp_path / "moved.txt"
    elsewhere.write_text("good\nbad")
    assert train(given(elsewhere, 15)).step == 15
    words.write_text("bad\ngood")
    with pytest.raises(ConfigError, match=r"sources\.news\.transforms\.1\.file: the file is another than"):
        train(given(words, 20))
    elsewhere.write_text("bad\ngood")
    with pytest.raises(ConfigError, match="the file is another than"):
        evaluate(result.run, split="test")
