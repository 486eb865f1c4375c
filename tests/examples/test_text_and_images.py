"""The examples with text and images, on made data of the same columns as the real sets."""

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from distmtl.checkpoint.commit import find
from distmtl.checkpoint.run import open_run_uri
from distmtl.config import load_config
from distmtl.features import InputGroup, SequenceColumn, TensorColumn
from distmtl.models.dropout import row_keys
from distmtl.orchestrate import evaluate, train
from distmtl.spec import load_target

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
SPLITS = {"train": 240, "valid": 60, "test": 60}
GOOD = ["fine", "lovely", "brilliant", "warm"]
BAD = ["dull", "awful", "tired", "cold"]
PLAIN = ["the", "film", "is", "a", "story", ",", "of", "two", "old", "dogs", "."]


def write_glue(folder: Path) -> None:
    """Single texts whose label is praise, and pairs whose label is whether words are shared."""
    rng = np.random.default_rng(0)
    for source in ("cola", "rte", "mrpc", "stsb", "sst2"):
        for split, rows in SPLITS.items():
            first, second, label = [], [], []
            for _ in range(rows):
                good = rng.random() < 0.5
                first.append(" ".join(rng.permutation([*rng.choice(PLAIN, 6), rng.choice(GOOD if good else BAD)])))
                if source in ("cola", "sst2"):
                    second.append(None)
                else:
                    other = first[-1].split() if good else list(rng.choice([*GOOD, *BAD], 5))
                    second.append(" ".join(rng.permutation(other)))
                label.append(float(good) * 5 if source == "stsb" else int(good))
            columns = {
                "sentence1": pa.array(first, pa.large_string()),
                "sentence2": pa.array(second, pa.large_string()),
                "label": pa.array(label, pa.float32() if source == "stsb" else pa.int8()),
            }
            (folder / source).mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.table(columns), folder / source / f"{split}.parquet")


def write_digits(folder: Path) -> None:
    """Bars whose height at either side is the label."""
    rng = np.random.default_rng(0)
    for split, rows in SPLITS.items():
        labels = rng.integers(0, 10, (2, rows))
        images = rng.integers(0, 40, (rows, 36, 36)).astype(np.uint8)
        for image, left, right in zip(images, *labels, strict=True):
            image[: 3 + 3 * left, 4:12] = 255
            image[: 3 + 3 * right, 22:30] = 255
        columns = {
            "image": pa.array([image.tobytes() for image in images], pa.binary(1296)),
            "y_left": pa.array(labels[0], pa.int8()),
            "y_right": pa.array(labels[1], pa.int8()),
        }
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), folder / f"{split}.parquet")


def pack_as_documented(example: str, raw: Path, data: Path) -> None:
    """Run the pack commands of the example's README."""
    text = (EXAMPLES / example / "README.md").read_text()
    (block,) = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    block = re.sub(r"export .*\n", "", block)
    block = re.sub(r"distmtl (train|eval) .*\n", "", block)
    block = block.replace("distmtl pack", f"{shlex.quote(sys.executable)} -m distmtl pack")
    environment = {"RAW": str(raw), "DISTMTL_DATA": str(data), "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(["bash", "-euc", block], env=environment, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("data")
    write_glue(data / "raw" / "glue")
    write_digits(data / "raw" / "digits")
    pack_as_documented("glue5", data / "raw" / "glue", data)
    pack_as_documented("multimnist", data / "raw" / "digits", data)
    return data


@pytest.fixture
def importable(monkeypatch: pytest.MonkeyPatch, data: Path) -> None:
    folders = [str(EXAMPLES / name) for name in ("glue5", "multimnist")]
    for folder in folders:
        monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", ":".join(folders))
    monkeypatch.setenv("DISTMTL_DATA", str(data))


@pytest.mark.usefixtures("importable")
def test_glue(tmp_path: Path) -> None:
    short = ["train.steps=40", "train.eval_every=40", "checkpoint.every=10", "batch.rows=200", "checkpoint.keep_last=9"]
    words = ["model.trunk.args={words: 24, width: 32, dropout: 0.1}", "optim.lr=0.01"]

    def run(name: str, *overrides: str, workers: int = 1) -> dict[str, dict[str, float]]:
        fixed = [f"store={tmp_path}", f"name={name}"]
        config = load_config(ROOT / "configs" / "glue5.yaml", [*short, *words, *fixed, *overrides])
        return train(config, runtime="inline", workers=workers).tasks

    tasks = run("alone")
    assert tasks["sst2"]["accuracy"] > 0.9
    assert tasks["mrpc"]["f1"] > 0.9
    assert tasks["stsb"]["pearson"] > 0.8
    assert tasks["cola"]["mcc"] > 0.8
    stored = open_run_uri(str(tmp_path / "alone"))
    for ref in find(stored):
        if ref.step > 20:
            stored.store.clear(ref.key)
    assert run("alone", "batch.transform_workers=1") == tasks
    assert evaluate(str(tmp_path / "alone"), split="test").tasks["rte"]["accuracy"] > 0.8


@pytest.mark.dist
@pytest.mark.usefixtures("importable")
def test_digits(tmp_path: Path) -> None:
    sections = ["train.passes=null", "train.steps=25", "train.eval_every=25", "train.precision=fp64", "batch.rows=40"]
    sections += ["model.trunk.args={channels: 4, width: 16}", f"store={tmp_path}", "checkpoint.every=25"]
    results = []
    for workers, runtime in ((1, "inline"), (2, "torchrun")):
        config = load_config(ROOT / "configs" / "multimnist.yaml", [*sections, f"name=on-{workers}"])
        results.append(train(config, runtime=runtime, workers=workers).tasks)  # type: ignore[arg-type]
    for task, metrics in results[0].items():
        assert results[1][task] == pytest.approx(metrics, rel=1e-9)


@pytest.mark.usefixtures("importable")
def test_a_text_is_read_alike_however_it_is_padded() -> None:
    group = InputGroup("tokens", "sequence", (SequenceColumn("tokens", "int64", 0, 96, 50),))
    torch.manual_seed(0)
    trunk = load_target("text_trunk:TextTrunk")((group,), words=8, width=6)
    ids = torch.tensor([[5, 6, 7, 1, 6, 8], [9, 5, 5, 0, 0, 0], [0, 0, 0, 0, 0, 0], [1, 3, 0, 0, 0, 0]])
    wide = torch.nn.functional.pad(ids, (0, 5))
    with row_keys(0, 0, torch.arange(4)):
        torch.testing.assert_close(trunk({"tokens": wide}), trunk({"tokens": ids}))
        alone = [trunk.eval()({"tokens": row[None, : max(1, int((row > 0).sum()))]}) for row in ids]
        torch.testing.assert_close(torch.cat(alone), trunk({"tokens": ids}))
    assert trunk({"tokens": ids[:0]}).shape == (0, 6)


@pytest.mark.usefixtures("importable")
def test_an_image_trunk_takes_no_rows_too() -> None:
    group = InputGroup("image", "tensor", (TensorColumn("image", "float32", (1, 36, 36)),))
    trunk = load_target("image_trunk:ImageTrunk")((group,), channels=4, width=5).eval()
    assert trunk({"image": torch.zeros(0, 1, 36, 36)}).shape == (0, 5)


@pytest.mark.parametrize("path", ["glue5/text_trunk.py", "multimnist/image_trunk.py"])
def test_a_trunk_is_less_than_thirty_lines(path: str) -> None:
    (trunk,) = (node for node in ast.parse((EXAMPLES / path).read_text()).body if isinstance(node, ast.ClassDef))
    assert trunk.end_lineno is not None
    assert trunk.end_lineno - trunk.lineno < 30
