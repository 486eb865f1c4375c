"""Inputs of several sources as one batch."""

import torch

from distmtl.data.batch import SourceBatch
from distmtl.features import InputGroup, SequenceColumn, TensorColumn, sequence_pads
from distmtl.training.forward import concatenate


def part(name: str, ids: list[list[int]]) -> SourceBatch:
    tokens = torch.tensor(ids).reshape(len(ids), -1)
    return SourceBatch(name, {"ids": tokens, "x": tokens[:, :1].float()}, {}, None, torch.arange(len(ids)))


def test_sequences_are_filled_up_to_the_longest() -> None:
    groups = (
        InputGroup("ids", "sequence", (SequenceColumn("ids", "int64", 9),)),
        InputGroup("x", "tensor", (TensorColumn("x", "float32", (1,)),)),
    )
    pads = sequence_pads(groups)
    assert pads == {"ids": 9}
    micro = (part("a", [[1, 2]]), part("b", [[3], [4]]), part("c", [[5, 6, 7]]))
    inputs = concatenate(micro, pads)
    assert inputs["ids"].tolist() == [[1, 2, 9], [3, 9, 9], [4, 9, 9], [5, 6, 7]]
    assert inputs["ids"].dtype == torch.int64
    assert inputs["x"].tolist() == [[1], [3], [4], [5]]
    assert concatenate(micro[:1], pads)["ids"].tolist() == [[1, 2]]
