"""What a model returns, brought to numbers: tuples, dicts and objects of other libraries; which axis is which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from storyline.memory.steps import MeasureError

# In this order: what is closest to the answer first.
_NAMES = (
    "logits",
    "prediction_logits",
    "last_hidden_state",
    "output",
    "outputs",
    "prediction",
    "predictions",
)


@dataclass(frozen=True)
class Layout:
    """Which axis of a model's output counts sequences, and which one steps; None: one output a sequence.

    `aligned` is False where the output's steps are fewer than the input's (strides, pooling): then the last counts
    as the one output of the sequence.
    """

    batch: int
    time: int | None
    aligned: bool = True

    def arrange(self, output: Tensor) -> Tensor:
        """Bring it to (batch, time, size), or (batch, size) where there is one output a sequence."""
        if not output.numel():
            raise MeasureError(
                f"the model returned nothing, {tuple(output.shape)}; an answer a sequence was wanted"
            )
        if self.time is not None and not self.aligned:
            last = output.select(self.time, -1)
            return Layout(self.batch - (self.time < self.batch), None).arrange(last)
        if self.time is None:
            return output.movedim(self.batch, 0).reshape(output.shape[self.batch], -1)
        steps = output.movedim((self.batch, self.time), (0, 1))
        return steps.reshape(*steps.shape[:2], -1)


def answer_of(returned: Any) -> Tensor:
    """The tensor that counts as the model's answer.

    A tensor, an array (of any library that NumPy reads) and a list of lists of numbers are themselves; of another tuple
    or list it is the first element (a torch.nn.LSTM returns (output, state)); of a dict or an object it is the first
    there of `logits`, `last_hidden_state`, `output`, `prediction`, or the only tensor that it holds.

    Raises:
        MeasureError: there is none, or more than one that might be meant.
    """
    if isinstance(returned, Tensor):
        return returned
    if isinstance(returned, PackedSequence):
        return pad_packed_sequence(returned, batch_first=True)[0]
    if isinstance(returned, np.ndarray | np.generic):
        return torch.as_tensor(np.asarray(returned))
    if isinstance(returned, Mapping):
        return _named(dict(returned))
    if any(getattr(returned, name, None) is not None for name in _NAMES):
        return _named({name: getattr(returned, name, None) for name in _NAMES})
    if isinstance(returned, tuple | list) and len(returned):
        return _array(returned) if _numbers(returned) else answer_of(returned[0])
    if hasattr(returned, "__array__"):
        return torch.as_tensor(np.array(returned))
    raise MeasureError(
        f"the model returned a {type(returned).__name__}; a tensor, an array, a tuple that begins with one, or "
        "a dict or object that holds one was wanted: wrap the model in a function that returns its answer"
    )


def _numbers(returned: Any) -> bool:
    """Whether it is a list of numbers, or of lists of them, as a remote model returns."""
    if isinstance(returned, list) and len(returned):
        return isinstance(returned[0], int | float) or _numbers(returned[0])
    return False


def _array(returned: Any) -> Tensor:
    try:
        return torch.as_tensor(returned)
    except (TypeError, ValueError) as error:
        raise MeasureError(
            f"the model returned lists that make no array ({error}); lists of one length were wanted"
        ) from None


def find_layout(full: Tensor, fewer: Tensor, shorter: Tensor | None, steps: int) -> Layout:
    """Tell the axes of an output apart by how its shape changes.

    Args:
        full: the output for n sequences of t steps.
        fewer: for n - 1 sequences of t steps.
        shorter: for n sequences of t - 1 steps; None where the model takes one length only, then an axis of t
            steps cannot be told, and the output counts as one a sequence.
        steps: t.

    Raises:
        MeasureError: no axis counts the sequences, or more than one does.
    """
    batch = _changed(full, fewer)
    time = [] if shorter is None else _changed(full, shorter)
    if len(batch) != 1 or len(time) > 1 or batch == time:
        raise MeasureError(
            f"the output is {tuple(full.shape)}, with one sequence fewer {tuple(fewer.shape)}"
            + ("" if shorter is None else f", with one step fewer {tuple(shorter.shape)}")
            + "; one axis must count the sequences, and at most one other the steps: is time taken for batch? "
            "Give time_dim=0 where the model reads (time, batch, ...), time_dim=1 where it reads (batch, time, ...)"
        )
    return Layout(batch[0], time[0] if time else None, not time or full.shape[time[0]] == steps)


def layout_at_once(full: Tensor, less: Tensor, sequences: int, steps: int) -> Layout | None:
    """The layout from one call with a sequence and a step fewer, where the sizes alone tell which axis is which.

    Args:
        full: the output for so many sequences of so many steps.
        less: for one fewer of both.
        sequences: how many.
        steps: how many.

    Returns:
        None where only one axis at a time would tell: see `find_layout`.
    """
    changed = {axis: (full.shape[axis], less.shape[axis]) for axis in _changed(full, less)}
    batch = [axis for axis, sizes in changed.items() if sizes == (sequences, sequences - 1)]
    time = [axis for axis, sizes in changed.items() if sizes == (steps, steps - 1)]
    if len(batch) != 1 or batch == time or len(changed) != len(batch) + len(time) or len(time) > 1:
        return None
    return Layout(batch[0], time[0] if time else None)


def _changed(one: Tensor, other: Tensor) -> list[int]:
    if one.ndim != other.ndim:
        return []
    return [axis for axis in range(one.ndim) if one.shape[axis] != other.shape[axis]]


def _named(found: Mapping[Any, Any]) -> Tensor:
    for name in _NAMES:
        if found.get(name) is not None:
            return answer_of(found[name])
    tensors = [value for value in found.values() if isinstance(value, Tensor | np.ndarray)]
    if len(tensors) == 1:
        return answer_of(tensors[0])
    raise MeasureError(
        f"the model returned a dict with {', '.join(map(repr, found)) or 'nothing'}; one of "
        f"{', '.join(map(repr, _NAMES))} or a single tensor was wanted: wrap the model in a function that "
        "returns its answer"
    )
