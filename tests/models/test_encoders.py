from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distmtl.errors import ConfigError
from distmtl.features import FIRST_ID, MISSING_ID, UNKNOWN_ID, NumericColumn, SequenceColumn
from distmtl.models.encoders import Categories, IdBag, PiecewiseNumbers, StandardNumbers, TensorProjection
from tests.models.columns import AGE, GAIN, GROUPS, JOB, LAND

NOTHING = NumericColumn("nothing", float("nan"), float("nan"), float("nan"), float("nan"), 1.0, ())
CONSTANT = NumericColumn("constant", 7.0, 0.0, 7.0, 7.0, 0.0, (7.0,) * 9)
WILD = NumericColumn("wild", 0.0, 1e300, -1e300, 1e300, 0.0, (-1e300, -1e-320, 0.0, 1e-320, 1e38, 1e300))


def test_the_piecewise_encoding_is_the_papers() -> None:
    column = NumericColumn("x", 0.0, 1.0, 0.0, 8.0, 0.0, (0.0, 2.0, 4.0, 8.0))
    encoder = PiecewiseNumbers([column], bins=8, width=3)
    with torch.no_grad():
        encoder.weight.copy_(torch.eye(3))
        encoder.bias.zero_()
    values = torch.tensor([[-5.0], [1.0], [2.0], [5.0], [8.0], [100.0]])
    expected = [[0, 0, 0], [0.5, 0, 0], [1, 0, 0], [1, 1, 0.25], [1, 1, 1], [1, 1, 1]]
    assert encoder(values).tolist() == expected


def test_columns_with_fewer_bins_are_encoded_as_if_alone() -> None:
    both = PiecewiseNumbers([AGE, GAIN], bins=16, width=4)
    values = torch.tensor([[30.0, 3500.0], [64.0, 0.0]])
    for c, column in enumerate((AGE, GAIN)):
        alone = PiecewiseNumbers([column], bins=16, width=4)
        with torch.no_grad():
            alone.weight.copy_(both.weight[c : c + 1, : alone.weight.shape[1]])
            alone.bias.copy_(both.bias[c : c + 1])
        torch.testing.assert_close(both(values)[:, 4 * c : 4 * c + 4], alone(values[:, c : c + 1]))


def test_standard_numbers_are_standardised_within_the_range_of_the_train_split() -> None:
    values = torch.tensor([[30.0], [90.0], [1e6], [torch.inf], [-torch.inf], [torch.nan]])
    assert StandardNumbers([AGE])(values).flatten().tolist() == pytest.approx([-1.0, 5.0, 5.0, 5.0, -2.2, 0.0])


@pytest.mark.parametrize("kind", ["standard", "piecewise"])
@given(
    values=st.lists(st.sampled_from([0.0, -1e38, 3e38, torch.inf, -torch.inf, torch.nan, 7.0, 1e-40]), max_size=6),
    column=st.sampled_from([AGE, GAIN, NOTHING, CONSTANT, WILD]),
)
@settings(deadline=None)
def test_nothing_that_a_column_holds_comes_out_as_nan(kind: str, values: list[float], column: NumericColumn) -> None:
    encoder = StandardNumbers([column]) if kind == "standard" else PiecewiseNumbers([column], bins=8, width=4)
    encoded = encoder(torch.tensor(values).reshape(-1, 1))
    encoded.sum().backward()
    assert encoded.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in encoder.parameters())


@pytest.mark.parametrize("encoder", [StandardNumbers([AGE, GAIN]), PiecewiseNumbers([AGE, GAIN], bins=4, width=2)])
def test_what_missing_values_mean_is_learned_from_rows_that_miss_them(encoder: torch.nn.Module) -> None:
    encoder(torch.tensor([[torch.nan, 5.0], [20.0, 1.0]])).sum().backward()
    grads = encoder.get_parameter("missing").grad
    assert grads is not None
    assert (grads[0] == 1.0).all()
    assert (grads[1] == 0.0).all()


def test_each_category_has_an_embedding_and_small_vocabularies_narrow_ones() -> None:
    encoder = Categories([JOB, LAND], width=16)
    assert encoder.width == 3 + 16
    encoded = encoder(torch.tensor([[FIRST_ID, 41], [FIRST_ID + 2, 41]]))
    assert encoded.shape == (2, 19)
    assert torch.equal(encoded[0, 3:], encoded[1, 3:])
    assert not torch.equal(encoded[0, :3], encoded[1, :3])


def test_missing_and_unknown_categories_start_neutral() -> None:
    encoded = Categories([JOB, LAND], width=16)(torch.tensor([[MISSING_ID, UNKNOWN_ID]]))
    assert (encoded == 0.0).all()


def test_a_tensor_is_flattened_and_bytes_are_scaled() -> None:
    column = GROUPS[2].columns[0]
    encoder = TensorProjection(column, width=5)  # type: ignore[arg-type]
    image = torch.randint(0, 256, (2, 3, 4), dtype=torch.uint8)
    torch.testing.assert_close(encoder(image), encoder(image.float() / 255.0))
    assert encoder(image).shape == (2, 5)


@pytest.mark.parametrize(
    "encoder",
    [
        StandardNumbers([AGE, GAIN]),
        PiecewiseNumbers([AGE, GAIN], 4, 2),
        Categories([JOB], 4),
        TensorProjection(replace(GROUPS[2].columns[0], dtype="float32"), 4),  # type: ignore[arg-type]
    ],
    ids=lambda encoder: type(encoder).__name__,
)
def test_rows_that_lack_the_group_have_all_of_it_missing(encoder: torch.nn.Module) -> None:
    encoded = encoder(encoder.absent(3))  # type: ignore[operator]
    assert encoded.shape == (3, encoder.width)
    assert encoded.isfinite().all()
    assert torch.equal(encoded[0], encoded[2])


@pytest.mark.parametrize("pad", [0, 3, 9])
def test_a_bag_of_ids_is_the_mean_of_their_embeddings(pad: int) -> None:
    encoder = IdBag(SequenceColumn("ids", "int64", pad, 5, 7), 4)
    ids = torch.tensor([[1, 2, 2], [pad, pad, pad], [4, pad, pad], [pad, 5, 6]])
    found = encoder(ids)
    assert found.shape == (4, encoder.width)
    expected = [encoder.weight[[1, 2, 2]], encoder.weight[:0], encoder.weight[[4]], encoder.weight[[5, 6]]]
    for row, words in zip(found, expected, strict=True):
        torch.testing.assert_close(row, words.mean(0).nan_to_num(0.0))
    torch.testing.assert_close(encoder(torch.nn.functional.pad(ids, (0, 4), value=pad)), found)
    assert not encoder(encoder.absent(2)).any()
    assert encoder(ids[:0]).shape == (0, 4)


def test_a_bag_needs_ids() -> None:
    with pytest.raises(ConfigError, match="cannot read the sequence 'wave', whose numbers are no ids"):
        IdBag(SequenceColumn("wave", "float32"), 4)
