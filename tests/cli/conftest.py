"""A packed source, a run file and a run that was trained from it, shared by the tests of the commands."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from distmtl.cli import main
from distmtl.data.options import PackOptions
from distmtl.data.packing import pack

RUN_FILE = """\
name: tiny
sources:
  people: {uri: packed, inputs: {dense: [age, height], categorical: [city]}}
tasks:
  tall: {source: people, target: tall, kind: binary, metrics: [auroc, f1]}
  color: {source: people, target: color, kind: multiclass, metrics: [accuracy]}
model:
  kind: hard_sharing
  trunk: {kind: tabular_mlp, hidden: [8]}
batch: {rows: 32, lanes: 2}
optim: {kind: adamw, lr: 1e-2}
train: {steps: 6, eval_every: 3, log_every: 2, device: cpu}
checkpoint: {every: 3}
launch: {runtime: inline}
"""

Invoke = Callable[..., Result]


@pytest.fixture
def invoke() -> Invoke:
    """Run the command line in this process."""

    def run(*arguments: str | Path) -> Result:
        return CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="distmtl")

    return run


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``run.yaml`` and ``packed``."""
    home = tmp_path_factory.mktemp("home")
    random = np.random.default_rng(0)
    files: dict[str, Sequence[str]] = {}
    for split, rows in (("train", 96), ("valid", 32), ("test", 32)):
        height = random.normal(170, 10, rows)
        columns = {
            "age": random.integers(18, 80, rows).astype(float),
            "height": height,
            "city": random.choice(["a", "b"], rows),
            "tall": (height > 170).astype(int),
            "color": random.choice(["red", "green", None], rows),
        }
        path = home / f"{split}.parquet"
        pq.write_table(pa.table(columns), path)
        files[split] = [str(path)]
    pack(files, str(home / "packed"), PackOptions(block_rows=16))
    (home / "run.yaml").write_text(RUN_FILE)
    return home


@pytest.fixture(scope="session")
def trained(home: Path) -> Result:
    """What ``distmtl train`` printed; the run is at ``home/runs/tiny``."""
    arguments = ["train", str(home / "run.yaml"), "--set", f"store={home}/runs", "--json"]
    result = CliRunner().invoke(main, arguments, prog_name="distmtl")
    assert result.exit_code == 0, result.output
    return result


def last_json(result: Result) -> dict[str, object]:
    """The JSON object that is the last line of standard output."""
    values = json.loads(result.stdout.splitlines()[-1])
    assert isinstance(values, dict)
    return values
