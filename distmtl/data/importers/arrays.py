"""NumPy arrays from bytes: the encodings of MDS."""

from typing import Any

import numpy as np
import numpy.typing as npt

_SHAPE_DTYPES = ("<u1", "<u2", "<u4", "<u8")
_DTYPES = {
    8: "uint8", 9: "int8", 16: "uint16", 17: "int16", 18: "float16", 32: "uint32", 33: "int32", 34: "float32",
    64: "uint64", 65: "int64", 66: "float64",
}  # fmt: skip


def decode_array(encoding: str, data: bytes) -> npt.NDArray[Any]:
    """An array of ``ndarray``, ``ndarray:dtype`` or ``ndarray:dtype:2,3``: what the name leaves open is in the bytes.

    Raises:
        ValueError: The bytes are not such an array.
        LookupError: So, too.
    """
    _, dtype, shape = (*encoding.split(":"), "", "")[:3]
    place = 0
    if not dtype:
        dtype, place = _DTYPES[data[0]], 1
    if shape:
        sizes = [int(size) for size in shape.split(",")]
    else:
        axes, width = data[place] >> 2, data[place] % 4
        end = place + 1 + axes * 2**width
        sizes = np.frombuffer(data[place + 1 : end], _SHAPE_DTYPES[width]).astype(np.int64).tolist()
        place = end
    values = np.frombuffer(data[place:], np.dtype(dtype).newbyteorder("<"))
    return values.astype(dtype, copy=False).reshape(sizes)
