"""A recurrent layer that is measured as it is can go on from a state, so that a past of many futures is read once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from storyline.layers import Recurrent
from storyline.memory.steps import MeasureError
from storyline.memory.subjects.sequences import Rows, lengths_of, stacked
from storyline.memory.subjects.subject import Subject, check_finite

# Steps whose way back is in memory at once, the least and the most: long sequences have longer pieces, since each keeps
# a state. Of more steps, those before a piece where all gradients underflow are not read.
PIECE, LONGEST_PIECE, _PIECES = 256, 2048, 64

# The parts of a layer's state, (layers, rows, size) each; none where the layer begins.
State = tuple[Tensor, ...]


def goes_on(subject: Subject, rows: Rows) -> bool:
    """Whether the model is a recurrent layer of torch.nn or of ours that reads forwards, and all rows are as long.

    One with hooks, or with a forward of its own, may look at whole sequences, and what it returns is not a layer's.
    """
    model = subject.model
    layer = type(model) in (nn.LSTM, nn.GRU, nn.RNN) or (
        isinstance(model, Recurrent) and type(model).forward is Recurrent.forward
    )
    alike = len(set(lengths_of(rows))) == 1
    changed = [name for name in ("forward", "_forward_hooks", "_forward_pre_hooks") if vars(model).get(name)]
    plain = layer and not changed and not getattr(model, "bidirectional", True)
    return plain and alike and subject.causal and subject.rows_at_once is None


def piece_size(steps: int) -> int:
    """Steps of the pieces that gradients of so many steps are taken in."""
    return min(LONGEST_PIECE, max(PIECE, -(-steps // _PIECES)))


def pieces(steps: int) -> list[int]:
    """The first steps of these pieces, cut from the end on."""
    size = piece_size(steps)
    return [0, *range(steps % size or size, steps, size)]


@dataclass(frozen=True, eq=False)
class Passed:
    """What a layer that goes on has read: all rows once, and how it stood on the way.

    Attributes:
        answers: (rows, size) float64 on the CPU, the last answers, those of `Subject.last` down to rounding.
        states: by the number of steps read, the state of all rows.
    """

    answers: Tensor
    states: Mapping[int, State]

    def of(self, rows: Sequence[int]) -> dict[int, State]:
        """The states of these rows."""
        chosen = torch.tensor(rows)
        return {
            cut: tuple([part[:, chosen.to(part.device)] for part in state])
            for cut, state in self.states.items()
        }


def pass_through(subject: Subject, rows: Rows, cuts: Iterable[int]) -> Passed:
    """Read all rows once, and keep the states after so many steps.

    Args:
        subject: one that `goes_on`.
        rows: as long, more steps than any cut.
        cuts: each 0 or more; at 0 there is no state.
    """
    whole = stacked(rows)
    states: dict[int, State] = {}
    marks = [0, *sorted({cut for cut in cuts if cut > 0}), whole.shape[1]]
    last, state = torch.empty(0), State()
    for start, end in pairwise(marks):
        last, state = _read(subject, whole[:, start:end], state)
        states[end] = state
    del states[whole.shape[1]]
    return Passed(_checked(last), states)


def answers_behind(subject: Subject, steps: Tensor, state: State, wanted: Tensor) -> Tensor:
    """(rows, wanted, size) on the CPU: the `wanted` of the answers to steps (rows, time, ...) behind a state."""
    found = []
    with torch.no_grad():
        for chunk in subject.chunks(steps):
            output, _ = _outputs(subject, steps[chunk], tuple([part[:, chunk] for part in state]))
            check_finite(output)
            found.append(output[:, wanted.to(output.device)].cpu())
    return torch.cat(found) if len(found) > 1 else found[0]


class Continued:
    """Last answers of a recurrent layer to sequences whose last steps stand behind the past of others.

    What `Subject.last` gives for the joined sequences, down to rounding, at the cost of one reading of the pasts and of
    the last steps instead of a whole sequence for every lag.

    Args:
        subject: one that `goes_on`.
        rows: (time, ...) each, whose last steps are read.
        pasts: as many, as long, whose first steps are read before.
        states: of the pasts, where they are known already.
    """

    def __init__(self, subject: Subject, rows: Rows, pasts: Rows, states: Mapping[int, State]) -> None:
        self.subject = subject
        self.rows, self.pasts = stacked(rows), stacked(pasts)
        self._states = {0: (), **states}

    def last(self, lags: Sequence[int]) -> Tensor:
        """(lags, rows, size) float64 on the CPU: the answers to the last so many steps behind the pasts."""
        steps, rows = self.rows.shape[1], len(self.rows)
        # the longest first: where the next begins it is read together with those that are under way
        order = sorted(set(lags), reverse=True)
        last, under_way = torch.empty(0), State()
        for i, (lag, rest) in enumerate(zip(order, [*order[1:], 0], strict=True)):
            begun = self._after(steps - lag)
            parts = zip(under_way, begun, strict=True) if under_way else zip(begun, strict=True)
            batch = self.rows[:, steps - lag : steps - rest]
            last, under_way = _read(
                self.subject,
                batch.repeat(i + 1, *[1] * (batch.ndim - 1)),
                tuple([torch.cat(each, 1) for each in parts]),
            )
        found = dict(zip(order, _checked(last).reshape(len(order), rows, -1), strict=True))
        return torch.stack([found[lag] for lag in lags])

    def _after(self, cut: int) -> State:
        """The state after the first `cut` steps of the pasts."""
        if cut not in self._states:
            before = max(mark for mark in self._states if mark < cut)
            self._states[cut] = _read(self.subject, self.pasts[:, before:cut], self._states[before])[1]
        return self._states[cut]


def squared_gradients(
    subject: Subject,
    rows: Rows,
    directions: Callable[[Tensor], Tensor],
    states: Mapping[int, State],
) -> Tensor:
    """(rows, time) float64: of the last answers by the inputs, summed over directions and channels, and squared.

    Piece by piece from the end on, each from the state before it: the way back of one piece alone is in memory, and
    before a piece by whose state every gradient is exactly 0, underflown, all are.

    Args:
        subject: one that `goes_on`.
        rows: (time, channels) each, as long.
        directions: last answers (rows, size) -> (directions, rows, size).
        states: of the rows, after the steps where `pieces` begin.
    """
    whole = subject.fitting(stacked(rows))
    cuts = pieces(whole.shape[1])
    total = torch.zeros(whole.shape[:2], dtype=torch.float64, device=whole.device)
    # by direction, the gradient of what it follows by each part of the state behind the piece
    carried: list[State] = []
    for cut, end in zip(cuts[::-1], [whole.shape[1], *cuts[:0:-1]], strict=True):
        leaf = whole[:, cut:end].clone().requires_grad_(True)
        before = [part.detach().clone().requires_grad_(True) for part in (states[cut] if cut else ())]
        # cuDNN refuses the backward pass of a recurrent layer in evaluation mode; torch's own kernels serve it.
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
            output, behind = _outputs(subject, leaf, tuple(before))
            ends = behind if carried else (output[:, -1],)
        carried = carried or [(each,) for each in directions(output[:, -1].detach())]
        for i, seeds in enumerate(carried):
            by_input, *by_state = torch.autograd.grad(
                ends, [leaf, *before], seeds, retain_graph=i + 1 < len(carried), materialize_grads=True
            )
            total[:, cut:end] += by_input.double().square().sum(-1)
            carried[i] = tuple(by_state)
        if not any(bool(part.any()) for parts in carried for part in parts):
            break
    return total


def _read(subject: Subject, batch: Tensor, state: State) -> tuple[Tensor, State]:
    """(the last answers (rows, size), the state behind them), chunk by chunk, without gradient."""
    last, states = [], []
    with torch.no_grad():
        for chunk in subject.chunks(batch):
            one = len(chunk) == len(batch)
            output, behind = _outputs(
                subject,
                batch if one else batch[chunk],
                state if one else tuple([part[:, chunk] for part in state]),
            )
            last.append(output[:, -1])
            states.append(behind)
    if len(last) == 1:
        return last[0], states[0]
    return torch.cat(last), tuple([torch.cat(parts, 1) for parts in zip(*states, strict=True)])


def _outputs(subject: Subject, batch: Tensor, state: State) -> tuple[Tensor, State]:
    """(all answers (rows, time, size), the state behind them)."""
    first = subject.time_dim == 1
    given = subject.fitting(batch)
    before = [part.contiguous() for part in state]
    try:
        output, behind = subject.model(
            given if first else given.transpose(0, 1).contiguous(),
            None if not before else tuple(before) if len(before) > 1 else before[0],
        )
    except Exception as error:
        raise MeasureError(
            f"the model raised {type(error).__name__} for {tuple(batch.shape)} sequences that go on from a state: "
            f"{str(error)[:300]}"
        ) from error
    return output if first else output.transpose(0, 1), behind if isinstance(behind, tuple) else (behind,)


def _checked(answers: Tensor) -> Tensor:
    check_finite(answers)
    return answers.to("cpu", torch.float64)
