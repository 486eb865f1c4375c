from pathlib import Path

import pytest
import torch

from distmtl.data import open_loader, pack
from distmtl.data.specs import BatchSpec, SourceSpec
from distmtl.errors import SourceError

ADULT = Path(__file__).parents[2] / "examples" / "adult"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    uri = str(tmp_path_factory.mktemp("adult"))
    pack([str(ADULT / f"{split}.parquet") for split in ("train", "valid")], uri)
    return SourceSpec(uri=uri, inputs={"dense": ["age", "education_num"], "words": ["workclass"]})


def test_a_loop_of_ones_own_stops_and_goes_on_at_another_size(source):
    def start(rank=0, size=1):
        targets = {"adult": {"y_income": "binary", "y_hours": "regression"}}
        return open_loader({"adult": source}, targets, BatchSpec(rows=512), rank=rank, size=size, seed=3)

    with start() as loader:
        for _ in range(5):
            state = loader.state_dict()
            whole = next(loader).sources[0]
    halves = []
    for rank in range(2):
        with start(rank, 2) as loader:
            loader.load_state_dict(state)
            halves.append(next(loader).sources[0])
    assert whole.inputs["dense"].shape == (512, 2)
    for name in ("dense", "words"):
        assert torch.equal(torch.cat([half.inputs[name] for half in halves]), whole.inputs[name])
    assert torch.equal(torch.cat([half.targets["y_income"] for half in halves]), whole.targets["y_income"])


def test_every_row_of_a_pass_once(source):
    with open_loader({"adult": source}, {}, BatchSpec(rows=5861), split="train") as loader:
        rows = [next(loader).sources[0].inputs["dense"] for _ in range(5)]
    with open_loader({"adult": source}, {}, BatchSpec(rows=5861), split="train", seed=9) as loader:
        others = [next(loader).sources[0].inputs["dense"] for _ in range(5)]
    first, second = torch.cat(rows), torch.cat(others)
    assert not torch.equal(first, second)
    assert torch.equal(first.sum(0), second.sum(0))


def test_a_column_that_is_not_there_is_named(source):
    with pytest.raises(SourceError, match="no column 'y_incom'"):
        open_loader({"adult": source}, {"adult": {"y_incom": "binary"}}, BatchSpec(rows=8))
