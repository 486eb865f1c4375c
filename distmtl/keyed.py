"""Random numbers as hashes of what they belong to, so that it does not matter who draws them, or when."""

import hashlib

import torch
from torch import Tensor

# Odd constants of a well-known integer mixer (SplitMix64), as signed numbers: integer tensors wrap around.
_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_MIX_A = 0xBF58476D1CE4E5B9 - 2**64
_MIX_B = 0x94D049BB133111EB - 2**64


def key_of(*parts: str | int) -> int:
    """A signed 64-bit number that depends on nothing but the parts."""
    text = "/".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little", signed=True)


def hashes(numbers: Tensor, key: int) -> Tensor:
    """A 32-bit hash of (key, number) for each number ``[N]`` int64, as int32 (Steele et al. 2014, SplitMix64)."""
    mixed = numbers * _GOLDEN + key
    mixed ^= (mixed >> 30) & (2**34 - 1)
    mixed.mul_(_MIX_A)
    mixed ^= (mixed >> 27) & (2**37 - 1)
    mixed.mul_(_MIX_B)
    mixed ^= (mixed >> 31) & (2**33 - 1)
    return (mixed >> 32).to(torch.int32)


def uniform(numbers: Tensor, key: int) -> Tensor:
    """A number in [0, 1) for each number ``[N]``, as float64, to a resolution of 2**-32."""
    return (hashes(numbers, key).to(torch.float64) + 2.0**31) / 2.0**32
