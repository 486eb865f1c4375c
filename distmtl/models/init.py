"""Initial values as a pure function of (seed, name), whatever else the model holds and however many workers there are.

A module of ours draws its values from a generator of its own, seeded by the run's seed and the module's name. So adding
a task, a head or a column leaves every other parameter's initial value as it was. A custom trunk or head is built
under a generator seeded by its name and then left alone: it may have loaded pretrained weights.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


def stable_seed(*parts: str | int) -> int:
    """A 63-bit number that depends on nothing but the parts (Python's ``hash`` differs between processes)."""
    text = "\0".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


@contextmanager
def seeded(seed: int, name: str) -> Iterator[None]:
    """Draw from the CPU generator seeded by (seed, name); its former state is restored afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(stable_seed(seed, "init", name))
        yield


def initialise(module: nn.Module, seed: int, name: str) -> None:
    """Give every parameter of a module of ours its initial value.

    Args:
        module: Its submodules that hold parameters draw them in ``reset_parameters()``.
        seed: The run's seed.
        name: The module's name in the model, such as ``trunk`` or ``private.income``.
    """
    for inner, part in module.named_modules(prefix=name):
        reset = getattr(part, "reset_parameters", None)
        if reset is not None:
            with seeded(seed, inner), torch.no_grad():
                reset()
