"""What of a training process goes into a checkpoint, and how it is put back."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from distmtl.checkpoint.contents import RunState
from distmtl.checkpoint.sharding import Columns, fill
from distmtl.data.mixture import Mixture
from distmtl.data.quarantine import Quarantine
from distmtl.errors import CheckpointError
from distmtl.models.base import MultiTaskModel
from distmtl.training.ledger import Ledger
from distmtl.training.mixing import Mixer
from distmtl.training.optim import load_optimizer_tensors, optimizer_tensors
from distmtl.training.progress import Progress
from distmtl.training.routes import ExactRoute
from distmtl.training.step import TrainStep

MODEL = "model."
OPTIMIZER = "optimizer."
MEMORY = "balancer."
AVERAGE = "average."


@dataclass(frozen=True)
class Stateful:
    """The parts of a training process that change while it runs."""

    model: MultiTaskModel
    step: TrainStep
    mixer: Mixer
    ledger: Ledger
    quarantine: Quarantine


def collect(parts: Stateful, progress: Progress, facts: dict[str, Any]) -> RunState:
    """Everything that the run needs to go on; a collective.

    Args:
        parts: What is saved.
        progress: Saved too.
        facts: Constants of the run that a reader needs: config hash, digests, input groups, labels.
    """
    tensors = {f"{MODEL}{name}": value.detach() for name, value in parts.model.state_dict().items()}
    slots = optimizer_tensors(parts.step.optimizer, parts.model)
    tensors |= {f"{OPTIMIZER}{name}": value for name, value in slots.items()}
    if parts.step.ema is not None:
        tensors |= {f"{AVERAGE}{name}": tensor for name, tensor in parts.step.ema.tensors.items()}
    values = {
        "progress": asdict(progress),
        "mixture": parts.mixer.mixture.to_json(),
        "quarantine": parts.quarantine.state(),
        "sampler": parts.mixer.state,
        "sampler_sums": parts.mixer.sums(),
        "balancer": parts.step.balancer_state,
        "ledger": parts.ledger.state(),
        "scaler": parts.step.scaler.state(),
        "facts": facts,
    }
    columns = {f"{MEMORY}{name}": part for name, part in _memories(parts.step).items()}
    return RunState(tensors, values, _generators(), columns)


def _memories(step: TrainStep) -> dict[str, Columns]:
    """This worker's columns of what the balancer remembers ``[T, P]``, as ``<memory>.<parameter>``."""
    if not isinstance(step.route, ExactRoute):
        return {}
    matrix, found = step.route.matrix, {}
    for memory, shard in step.memories.items():
        held, at = {}, 0
        for span in matrix.spans:
            held[span.name] = span.start, shard[:, at : at + span.size]
            at += span.size
        for name, width in matrix.widths.items():
            start, part = held.get(name, (0, shard[:, :0]))
            found[f"{memory}.{name}"] = Columns(part, start, width, matrix.writes)
    return found


def restore(state: RunState, parts: Stateful, *, same_balancer: bool = True) -> Progress:
    """Put a checkpoint's state back into freshly built parts; returns how far it is.

    Args:
        state: The checkpoint's.
        parts: Where it is put.
        same_balancer: Whether the run that wrote it weighed its tasks in the same way; if not, the balancer begins.

    Raises:
        CheckpointError: It is of another model.
    """
    load_model(state, parts.model)
    slots = {name.removeprefix(OPTIMIZER): t for name, t in state.tensors.items() if name.startswith(OPTIMIZER)}
    load_optimizer_tensors(parts.step.optimizer, parts.model, slots)
    for name, part in _memories(parts.step).items():
        if part.tensor.numel() and same_balancer:
            stored = state.tensors[f"{MEMORY}{name}"]
            part.tensor.copy_(stored[:, part.start : part.start + part.tensor.shape[1]])
    load_average(state, parts.step)
    values = state.values
    parts.mixer.mixture = Mixture.from_json(values["mixture"])
    parts.quarantine.load(values.get("quarantine", ()))  # checkpoints of before there was one have none
    parts.mixer.state = values["sampler"]
    parts.mixer.load_sums(values["sampler_sums"])
    if same_balancer:
        parts.step.balancer_state = parts.step.weigher.resumed(values["balancer"], parts.step.balancer_state)
    parts.ledger.load(values["ledger"])
    parts.step.scaler.load(values["scaler"])
    if state.rank_values:
        _restore_generators(state.rank_values)
    return Progress(**values["progress"])


def load_model(state: RunState, model: MultiTaskModel) -> None:
    """Put a checkpoint's parameters and buffers into a model.

    Raises:
        CheckpointError: The names or shapes are those of another model.
    """
    require_model({name: tensor.shape for name, tensor in state.tensors.items()}, model)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            fill(tensor, state.tensors[MODEL + name], name)


def load_average(state: RunState, step: TrainStep) -> None:
    """Put a checkpoint's moving average back, if the run keeps one; it begins with the parameters if that has none."""
    if step.ema is not None:
        for name, tensor in step.ema.tensors.items():
            fill(tensor, state.tensors.get(AVERAGE + name, state.tensors[MODEL + name]), name)


def require_model(shapes: Mapping[str, Sequence[int]], model: MultiTaskModel) -> None:
    """Refuse a checkpoint of another model.

    Args:
        shapes: Of the checkpoint's tensors, by name.
        model: The model that is to go on with it.

    Raises:
        CheckpointError: Names or shapes of parameters or buffers differ.
    """
    wanted = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name.removeprefix(MODEL): list(shape) for name, shape in shapes.items() if name.startswith(MODEL)}
    odd = [name for name in sorted({*wanted, *found}) if wanted.get(name) != found.get(name)]
    if odd:
        there, here = (shapes_of.get(odd[0], "absent") for shapes_of in (found, wanted))
        raise CheckpointError(
            f"the checkpoint is of another model: '{odd[0]}' is {there} there and {here} here"
            f" ({len(odd)} differ in all).",
            remedy="Use the model section of the run that wrote it.",
        )


def _generators() -> dict[str, Any]:
    """States of the global generators, which only parts of the user's own may draw from."""
    kind, numbers, gauss_next = random.getstate()[0], list(random.getstate()[1]), random.getstate()[2]
    numpy_state: Any = np.random.get_state(legacy=False)
    states = {"torch": torch.get_rng_state(), "numpy": numpy_state, "python": [kind, numbers, gauss_next]}
    return states | ({"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_initialized() else {})


def _restore_generators(states: Any) -> None:
    torch.set_rng_state(states["torch"])
    np.random.set_state(states["numpy"])
    kind, numbers, gauss_next = states["python"]
    random.setstate((kind, tuple(numbers), gauss_next))
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])
