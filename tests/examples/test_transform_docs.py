"""The code in docs/transforms.md does what the page says."""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
import yaml
from pydantic import TypeAdapter
from torch import Tensor, nn

from distmtl.data.specs import BatchSpec
from distmtl.data.transforms.base import ColumnInfo
from distmtl.data.transforms.chain import Chain
from distmtl.data.transforms.specs import TransformSpec
from distmtl.features import InputGroup, SequenceColumn
from distmtl.spec import CustomSpec

TEXT = (Path(__file__).parents[2] / "docs" / "transforms.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
YAML = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)]


def test_the_run_files_are_right() -> None:
    run, custom = YAML
    transforms = TypeAdapter(list[TransformSpec])
    assert len(transforms.validate_python(run["sources"]["reviews"]["transforms"])) == 4
    assert BatchSpec.model_validate(run["batch"]).transform_workers == 2
    assert isinstance(transforms.validate_python(custom["transforms"])[0], CustomSpec)


def test_the_trunk() -> None:
    names = {"nn": nn, "Tensor": Tensor}
    exec(PYTHON[0], names)
    group = InputGroup("tokens", "sequence", (SequenceColumn("tokens", "int64", 3, 9, 20),))
    trunk = names["BagOfWords"]((group,))
    assert trunk.width == 64
    found = trunk({"tokens": torch.tensor([[1, 2, 3], [3, 3, 3]])})
    torch.testing.assert_close(found[0], trunk.words.weight[1:3].mean(0))
    assert not found[1].any()


def test_the_transform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_transforms.py").write_text(PYTHON[1])
    monkeypatch.syspath_prepend(tmp_path)
    (spec,) = TypeAdapter(list[TransformSpec]).validate_python(YAML[1]["transforms"])
    chain = Chain((spec,), {"text": ColumnInfo("text")}, "s")
    assert chain.columns["length"] == ColumnInfo("tensor", "float32", (1,))
    made = chain.apply({"text": pa.array(["ab", None, ""], pa.string())}, None, 3)
    assert made["text"].to_pylist() == ["AB", None, ""]
    np.testing.assert_array_equal(made["length"], [[2], [0], [0]])
