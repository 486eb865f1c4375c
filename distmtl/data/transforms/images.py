"""Transforms of images: decoding, and the augmentation that keeps a row's randomness its own."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from distmtl.data.transforms.base import ColumnInfo, ColumnValues, RowBatch
from distmtl.data.transforms.columns import require
from distmtl.data.transforms.keys import integers, uniform
from distmtl.data.transforms.numbers import per_channel
from distmtl.data.transforms.specs import ImageSpec, RandomCropSpec, RandomFlipSpec, Size
from distmtl.errors import ConfigError, ResourceError


class DecodeImages:
    """See :class:`~distmtl.data.transforms.specs.ImageSpec`.

    Raises:
        ConfigError: Mean or deviation are given for bytes, or not per channel.
        ResourceError: Pillow is not installed.
    """

    def __init__(self, spec: ImageSpec) -> None:
        self._spec = spec
        self._size = _pair(spec.size)
        self._shape = (3 if spec.mode == "rgb" else 1, *self._size)
        self._into = spec.into or spec.column
        self.reads: Sequence[str] = (spec.column,)
        if spec.dtype == "uint8" and (spec.mean is not None or spec.std is not None):
            raise ConfigError("'mean' and 'std' need dtype float32.", remedy="Write dtype: float32.")
        self._mean = per_channel(spec.mean or 0.0, self._shape)
        self._std = per_channel(spec.std or 1.0, self._shape)
        try:
            import PIL  # noqa: F401
        except ImportError as error:
            remedy = "Run pip install 'distmtl[images]'."
            raise ResourceError("'image' needs the package 'Pillow'.", remedy=remedy) from error

    def describe(self, columns: Mapping[str, ColumnInfo]) -> dict[str, ColumnInfo]:
        """A tensor ``[C, H, W]``."""
        require(columns, self._spec.column, "bytes")
        return {self._into: ColumnInfo("tensor", self._spec.dtype, self._shape)}

    def apply(self, rows: RowBatch) -> dict[str, ColumnValues]:
        """The images ``[N, C, H, W]``."""
        encoded = rows.columns[self._spec.column]
        images = np.empty((len(encoded), *self._shape), np.uint8)
        for image, cell in zip(images, encoded, strict=True):
            image[:] = self._decoded(cell)
        if self._spec.dtype == "uint8":
            return {self._into: images}
        return {self._into: ((images.astype(np.float32) / 255.0 - self._mean) / self._std).astype(np.float32)}

    def _decoded(self, cell: Any) -> Any:
        from PIL import Image, ImageOps

        if not cell.is_valid:
            raise ValueError("the row has no image")
        height, width = self._size
        with Image.open(io.BytesIO(cell.as_buffer())) as opened:
            image = opened.convert("RGB" if self._spec.mode == "rgb" else "L")
        if image.size != (width, height):
            if self._spec.fit == "crop":
                image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
            else:
                image = image.resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(image).reshape(height, width, -1).transpose(2, 0, 1)


class RandomCrop:
    """See :class:`~distmtl.data.transforms.specs.RandomCropSpec`."""

    def __init__(self, spec: RandomCropSpec) -> None:
        self._spec = spec
        self._size = _pair(spec.size)
        self.reads: Sequence[str] = (spec.column,)

    def describe(self, columns: Mapping[str, ColumnInfo]) -> dict[str, ColumnInfo]:
        """The tensor with another height and width."""
        info = _image(columns, self._spec.column)
        for have, want in zip(info.shape[-2:], self._size, strict=True):
            if have + 2 * self._spec.pad < want:
                raise ConfigError(
                    f"a part of {list(self._size)} does not fit into {list(info.shape[-2:])} with {self._spec.pad} "
                    "zeros around it.",
                    remedy="Lower 'size' or raise 'pad'.",
                )
        return {self._spec.column: replace(info, shape=(*info.shape[:-2], *self._size))}

    def apply(self, rows: RowBatch) -> dict[str, ColumnValues]:
        """The parts ``[N, ..., height, width]``."""
        values, pad = rows.columns[self._spec.column], self._spec.pad
        images = values.reshape(len(values), -1, *values.shape[-2:])
        images = np.pad(images, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        places = [have - want + 1 for have, want in zip(images.shape[-2:], self._size, strict=True)]
        if rows.keys is None:
            top, left = (np.full(len(values), (count - 1) // 2) for count in places)
        else:
            top, left = (integers(rows.keys, axis, n) for axis, n in zip(("top", "left"), places, strict=True))
        parts = np.lib.stride_tricks.sliding_window_view(images, self._size, axis=(-2, -1))
        found = parts[np.arange(len(values)), :, top, left]
        return {self._spec.column: found.reshape(*values.shape[:-2], *self._size)}


class RandomFlip:
    """See :class:`~distmtl.data.transforms.specs.RandomFlipSpec`."""

    def __init__(self, spec: RandomFlipSpec) -> None:
        self._spec = spec
        self.reads: Sequence[str] = (spec.column,)

    def describe(self, columns: Mapping[str, ColumnInfo]) -> dict[str, ColumnInfo]:
        """The same tensor."""
        return {self._spec.column: _image(columns, self._spec.column)}

    def apply(self, rows: RowBatch) -> dict[str, ColumnValues]:
        """The images, some of them mirrored."""
        spec, values = self._spec, rows.columns[self._spec.column]
        if rows.keys is None:
            return {spec.column: values}
        flipped = uniform(rows.keys, "flip") < spec.probability
        changed = values.copy()
        changed[flipped] = np.flip(values[flipped], axis=-1 if spec.direction == "horizontal" else -2)
        return {spec.column: changed}


def _pair(size: Size) -> tuple[int, int]:
    height, width = size if isinstance(size, tuple) else (size, size)
    if height < 1 or width < 1:
        raise ConfigError(f"an image of {height} x {width} pixels has none.", remedy="Give a larger 'size'.")
    return height, width


def _image(columns: Mapping[str, ColumnInfo], name: str) -> ColumnInfo:
    info = require(columns, name, "tensor")
    if len(info.shape) < 2:
        raise ConfigError(
            f"column '{name}' has rows of shape {list(info.shape)}, which is no image.",
            remedy="Name a tensor [..., H, W]; decode bytes with 'image' first.",
        )
    return info
