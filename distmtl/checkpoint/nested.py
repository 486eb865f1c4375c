"""Nested states (dicts, lists, numbers, arrays, tensors) as JSON plus named tensors, and back without loss.

Whatever JSON cannot say is a dict of one key that begins with "$"::

    {"$array": name}  {"$scalar": name}  {"$tensor": name}   a NumPy array, a NumPy scalar, a tensor
    {"$tuple": [...]}  {"$dict": [[key, value], ...]}        a tuple; a dict with other keys than plain strings
    {"$float": "nan" | "inf" | "-inf"}
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


def split(state: Any) -> tuple[Any, dict[str, Tensor]]:
    """Take a nested state apart into JSON values and tensors, named by where they stood.

    Raises:
        TypeError: It holds something that is neither JSON, a tuple, an array nor a tensor. Names the place.
    """
    tensors: dict[str, Tensor] = {}

    def keep(tag: str, tensor: Tensor, path: str) -> dict[str, str]:
        name = path
        while name in tensors:  # Keys may contain "/", so two places can have the same path.
            name += "'"
        tensors[name] = tensor
        return {tag: name}

    return _split(state, "", keep), tensors


def join(values: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Put together what ``split`` took apart.

    Raises:
        KeyError: A tensor is missing.
    """
    if isinstance(values, list):
        return [join(value, tensors) for value in values]
    if not isinstance(values, dict):
        return values
    if len(values) == 1:
        tag, value = next(iter(values.items()))
        if tag in _JOIN:
            return _JOIN[tag](value, tensors)
    return {key: join(value, tensors) for key, value in values.items()}


def _split(state: Any, path: str, keep: Callable[[str, Tensor, str], dict[str, str]]) -> Any:
    match state:
        case Tensor():
            return keep("$tensor", state.detach(), path)
        case np.ndarray():
            return keep("$array", _from_array(state, path), path)
        case np.generic():
            return keep("$scalar", _from_array(np.asarray(state), path), path)
        case None | bool() | int() | str() if type(state) in _PLAIN:
            return state
        case float() if type(state) is float:
            return state if math.isfinite(state) else {"$float": repr(state)}
        case list() | tuple() if type(state) in {list, tuple}:
            items = [_split(item, f"{path}/{number}".lstrip("/"), keep) for number, item in enumerate(state)]
            return items if isinstance(state, list) else {"$tuple": items}
        case Mapping():
            pairs = [(key, _split(value, f"{path}/{key}".lstrip("/"), keep)) for key, value in state.items()]
            if all(type(key) is str and not key.startswith("$") for key, _ in pairs):
                return dict(pairs)
            return {"$dict": [[_split(key, path, keep), value] for key, value in pairs]}
    raise TypeError(f"a checkpoint cannot keep the {type(state).__name__} at '{path}'")


_PLAIN = (type(None), bool, int, str)

_JOIN: dict[str, Callable[[Any, Mapping[str, Tensor]], Any]] = {
    "$tensor": lambda name, tensors: tensors[name],
    "$array": lambda name, tensors: tensors[name].numpy(),
    "$scalar": lambda name, tensors: tensors[name].numpy()[()],
    "$float": lambda text, _: float(text),
    "$tuple": lambda items, tensors: tuple(join(item, tensors) for item in items),
    "$dict": lambda pairs, tensors: {join(key, tensors): join(value, tensors) for key, value in pairs},
}


def _from_array(array: "np.ndarray[Any, Any]", path: str) -> Tensor:
    native = np.array(array, dtype=array.dtype.newbyteorder("="), order="C")
    try:
        return torch.from_numpy(native)
    except TypeError as error:
        raise TypeError(f"a checkpoint cannot keep the array of {array.dtype} at '{path}'") from error
