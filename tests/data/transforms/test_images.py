"""Decoding against Pillow itself; crops and flips against slices."""

import io

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from distmtl.data.transforms.base import ColumnInfo, RowBatch
from distmtl.data.transforms.build import build_transform
from distmtl.data.transforms.keys import row_keys
from distmtl.data.transforms.specs import ImageSpec, RandomCropSpec, RandomFlipSpec
from distmtl.errors import ConfigError

BYTES = {"image": ColumnInfo("bytes")}
RANDOM = np.random.default_rng(0)
PIXELS = [RANDOM.integers(0, 256, (h, w, 3), np.uint8) for h, w in ((8, 6), (5, 9), (8, 6))]


def encoded(pixels, form="PNG"):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


def keys(count):
    return row_keys(0, "s", np.zeros(count, np.int64), np.arange(count))


def run(spec, rows, columns=BYTES, keys=None):
    transform = build_transform(spec, columns)
    (name, info), *_ = transform.describe(columns).items()
    made = transform.apply(RowBatch({spec.column: rows}, keys))[name]
    assert made.shape == (len(rows), *info.shape)
    assert made.dtype == info.dtype
    return made


def test_images_are_decoded_and_resized():
    rows = pa.array([encoded(pixels) for pixels in PIXELS], pa.binary())
    found = run(ImageSpec(column="image", size=(8, 6)), rows)
    np.testing.assert_array_equal(found[0], PIXELS[0].transpose(2, 0, 1))
    stretched = Image.fromarray(PIXELS[1]).resize((6, 8), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(found[1], np.asarray(stretched).transpose(2, 0, 1))
    np.testing.assert_array_equal(run(ImageSpec(column="image", size=(8, 6)), rows[1:]), found[1:])


def test_images_are_cut_to_shape():
    pixels = np.concatenate([PIXELS[1], PIXELS[1], PIXELS[1][:1]])  # 11 x 9
    found = run(ImageSpec(column="image", size=9, fit="crop"), pa.array([encoded(pixels)], pa.binary()))
    np.testing.assert_array_equal(found[0], pixels[1:10].transpose(2, 0, 1))


def test_grey_and_normalised():
    rows = pa.array([encoded(PIXELS[0], "JPEG"), encoded(PIXELS[2])], pa.binary())
    spec = ImageSpec(column="image", size=(8, 6), mode="grey", dtype="float32", mean=0.5, std=(0.25,), into="x")
    found = run(spec, rows)
    grey = np.asarray(Image.fromarray(PIXELS[2]).convert("L"))
    np.testing.assert_allclose(found[1, 0], (grey / 255 - 0.5) / 0.25, rtol=1e-5)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"mean": 0.5}, "'mean' and 'std' need dtype float32"),
        ({"dtype": "float32", "mean": (0.5, 0.5)}, r"2 numbers are given for a tensor of shape \[3, 8, 8\]"),
        ({"size": 0}, "an image of 0 x 0 pixels has none"),
    ],
)
def test_what_is_wrong_with_a_decoder(given, said):
    with pytest.raises(ConfigError, match=said):
        build_transform(ImageSpec(**{"column": "image", "size": 8} | given), BYTES)


@pytest.mark.parametrize("shape", [(6, 7), (2, 6, 7), (3, 2, 6, 7)])
@pytest.mark.parametrize("pad", [0, 2])
def test_crops_are_parts_of_the_padded_image(shape, pad):
    rows = np.arange(600 * np.prod(shape), dtype=np.float32).reshape(600, *shape) + 1
    columns = {"image": ColumnInfo("tensor", "float32", shape)}
    spec = RandomCropSpec(column="image", size=(4, 5), pad=pad)
    found = run(spec, rows, columns, keys(600))
    padded = np.pad(rows, [(0, 0)] * (rows.ndim - 2) + [(pad, pad)] * 2)
    places = set()
    for image, part in zip(padded, found, strict=True):
        matches = [
            (y, x)
            for y in range(3 + 2 * pad)
            for x in range(3 + 2 * pad)
            if np.array_equal(image[..., y : y + 4, x : x + 5], part)
        ]
        assert len(matches) == 1
        places.update(matches)
    assert len(places) == (3 + 2 * pad) ** 2  # every place comes up
    y = x = 1 + pad
    np.testing.assert_array_equal(run(spec, rows, columns), padded[..., y : y + 4, x : x + 5])


@pytest.mark.parametrize(("direction", "axis"), [("horizontal", -1), ("vertical", -2)])
def test_flips(direction, axis):
    rows = np.arange(1000 * 12, dtype=np.uint8).reshape(1000, 1, 3, 4)
    given = rows.copy()
    columns = {"image": ColumnInfo("tensor", "uint8", (1, 3, 4))}
    found = run(RandomFlipSpec(column="image", direction=direction, probability=0.3), rows, columns, keys(1000))
    flipped = np.array([np.array_equal(a, np.flip(b, axis)) for a, b in zip(found, rows, strict=True)])
    np.testing.assert_array_equal(found[~flipped], rows[~flipped])
    assert 0.25 < flipped.mean() < 0.35
    np.testing.assert_array_equal(rows, given)
    assert run(RandomFlipSpec(column="image"), rows, columns) is rows


def test_a_crop_that_does_not_fit():
    columns = {"image": ColumnInfo("tensor", "uint8", (6, 7)), "vector": ColumnInfo("tensor", "uint8", (6,))}
    with pytest.raises(ConfigError, match=r"a part of \[9, 9\] does not fit into \[6, 7\] with 1 zeros around it"):
        build_transform(RandomCropSpec(column="image", size=9, pad=1), columns).describe(columns)
    with pytest.raises(ConfigError, match=r"'vector' has rows of shape \[6\], which is no image"):
        build_transform(RandomFlipSpec(column="vector"), columns).describe(columns)
