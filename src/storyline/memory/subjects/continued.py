"""A recurrent layer that is measured as it is can go on from a state, so that a past of many swaps is read once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from storyline.layers import Recurrent
from storyline.memory.subjects.sequences import Rows, lengths_of, picked, stacked
from storyline.memory.subjects.subject import Subject, check_finite

# Steps whose way back is in memory at once.
PIECE = 2048


def goes_on(subject: Subject, rows: Rows) -> bool:
    """Whether the model is a recurrent layer of torch.nn or of ours that reads forwards, and all rows are as long."""
    model = subject.model
    layer = type(model) in (nn.LSTM, nn.GRU, nn.RNN) or (
        isinstance(model, Recurrent) and type(model).forward is Recurrent.forward
    )
    alike = len(set(lengths_of(rows))) == 1
    return layer and alike and not getattr(model, "bidirectional", True) and subject.rows_at_once is None


@dataclass(frozen=True, eq=False)
class Passed:
    """What a layer that goes on has read: all rows once, and how it stood on the way.

    Attributes:
        answers: (rows, size) float64 on the CPU, the last answers, those of `Subject.last` down to rounding.
        cut: after so many steps, 1 or more, the state was kept.
        state: it, of all rows, as the layer returns it.
    """

    answers: Tensor
    cut: int
    state: Any

    def answers_from(self, subject: Subject, rows: Sequence[int], tails: Tensor) -> Tensor:
        """(rows, time, size) on the CPU: the answers to other steps (rows, time, ...) behind the kept state of rows."""
        found = []
        with torch.no_grad():
            for chunk in subject.chunks(tails):
                chosen = [rows[i] for i in chunk]
                parts = tuple(part[:, chosen].contiguous() for part in _parts(self.state))
                state = parts if isinstance(self.state, tuple) else parts[0]
                output, _ = _outputs(subject, tails[chunk], state)
                check_finite(output)
                found.append(output.cpu())
        return torch.cat(found) if len(found) > 1 else found[0]


def pass_through(subject: Subject, rows: Rows, cut: int) -> Passed:
    """Read all rows once, and keep the state after `cut` steps.

    Args:
        subject: one that `goes_on`.
        rows: as long, more than `cut` steps.
        cut: 1 or more.
    """
    last, states = [], []
    with torch.no_grad():
        for chunk in subject.chunks(rows):
            batch = stacked(picked(rows, chunk))
            _, state = _read(subject, batch[:, :cut], None)
            answers, _ = _read(subject, batch[:, cut:], state)
            check_finite(answers)
            last.append(answers.to("cpu", torch.float64))
            states.append(state)
    parts = tuple(torch.cat(each, 1) for each in zip(*map(_parts, states), strict=True))
    return Passed(torch.cat(last), cut, parts if isinstance(states[0], tuple) else parts[0])


class Continued:
    """Last answers of a recurrent layer to sequences whose last steps stand behind the past of others.

    What `Subject.last` gives for the joined sequences, down to rounding, at the cost of one reading of the pasts and of
    the last steps instead of a whole sequence for every lag.

    Args:
        subject: one that `goes_on`.
        rows: (time, ...) each, whose last steps are read.
        pasts: as many, as long, whose first steps are read before.
    """

    def __init__(self, subject: Subject, rows: Rows, pasts: Rows) -> None:
        self.subject = subject
        self.rows, self.pasts = stacked(rows), stacked(pasts)
        # after so many steps of the pasts, by chunk of rows: the state
        self._states: dict[int, list[Any]] = {0: [None] * len(self._chunks())}

    def last(self, lags: Sequence[int]) -> Tensor:
        """(lags, rows, size) float64 on the CPU: the answers to the last so many steps behind the pasts."""
        steps = self.rows.shape[1]
        found = {}
        with torch.no_grad():
            # the earliest cut first: each goes on from the one before
            for lag in sorted(set(lags), reverse=True):
                states = self._after(steps - lag)
                answers = [
                    self._read(self.rows[chunk, steps - lag :], state)[0]
                    for chunk, state in zip(self._chunks(), states, strict=True)
                ]
                found[lag] = torch.cat(answers).to("cpu", torch.float64)
                check_finite(found[lag])
        return torch.stack([found[lag] for lag in lags])

    def _chunks(self) -> list[list[int]]:
        return list(self.subject.chunks(self.rows))

    def _after(self, cut: int) -> list[Any]:
        """The states after the first `cut` steps of the pasts, a chunk of rows each."""
        if cut not in self._states:
            before = max(mark for mark in self._states if mark < cut)
            self._states[cut] = [
                self._read(self.pasts[chunk, before:cut], state)[1]
                for chunk, state in zip(self._chunks(), self._states[before], strict=True)
            ]
        return self._states[cut]

    def _read(self, batch: Tensor, state: Any) -> tuple[Tensor, Any]:
        return _read(self.subject, batch, state)


def squared_gradients(subject: Subject, rows: Rows, directions: Callable[[Tensor], Tensor]) -> Tensor:
    """(rows, time) float64: of the last answers by the inputs, summed over directions and channels, and squared.

    Piece by piece from the end on, each from the state before it: the way back of one piece alone is in memory, and
    before a piece by whose state every gradient is exactly 0, underflown, all are.

    Args:
        subject: one that `goes_on`.
        rows: (time, channels) each, as long.
        directions: last answers (rows, size) -> (directions, rows, size).
    """
    whole = subject.fitting(stacked(rows))
    cuts = list(range(0, whole.shape[1], PIECE))
    states: list[Any] = [None]
    last = torch.empty(0)
    with torch.no_grad():
        for cut in cuts:
            last, state = _read(subject, whole[:, cut : cut + PIECE], states[-1])
            states.append(state)
    total = torch.zeros(whole.shape[:2], dtype=torch.float64, device=whole.device)
    # by direction, the gradient of what it follows by each part of the state behind the piece
    carried: list[tuple[Tensor, ...]] = [(each,) for each in directions(last)]
    for place in reversed(range(len(cuts))):
        leaf = whole[:, cuts[place] : cuts[place] + PIECE].clone().requires_grad_(True)
        before = [part.detach().requires_grad_(True) for part in _parts(states[place])]
        state = None if not before else tuple(before) if isinstance(states[place], tuple) else before[0]
        # cuDNN refuses the backward pass of a recurrent layer in evaluation mode; torch's own kernels serve it.
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
            answers, behind = _read(subject, leaf, state)
        ends = (answers,) if place + 1 == len(cuts) else _parts(behind)
        squares = total[:, cuts[place] : cuts[place] + PIECE]
        for i, seeds in enumerate(carried):
            by_input, *by_state = torch.autograd.grad(
                ends, [leaf, *before], seeds, retain_graph=i + 1 < len(carried), materialize_grads=True
            )
            squares += by_input.double().square().sum(-1)
            carried[i] = tuple(by_state)
        if not any(bool(part.any()) for parts in carried for part in parts):
            break
    return total


def _parts(state: Any) -> tuple[Tensor, ...]:
    return () if state is None else state if isinstance(state, tuple) else (state,)


def _read(subject: Subject, batch: Tensor, state: Any) -> tuple[Tensor, Any]:
    """(the last answers (rows, size), the state behind them)."""
    output, state = _outputs(subject, batch, state)
    return output[:, -1], state


def _outputs(subject: Subject, batch: Tensor, state: Any) -> tuple[Tensor, Any]:
    """(all answers (rows, time, size), the state behind them)."""
    first = subject.time_dim == 1
    given = subject.fitting(batch)
    output, state = subject.model(given if first else given.transpose(0, 1).contiguous(), state)
    return (output if first else output.transpose(0, 1)), state
