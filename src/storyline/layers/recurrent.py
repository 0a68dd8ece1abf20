"""Recurrent stacks: what RNN, LSTM and GRU share."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from storyline.cells import Cell
from storyline.cells import State as CellState
from storyline.cells.cell import step as cell_step
from storyline.kernels import (
    Ragged,
    Recurrence,
    Weights,
    choose_backend,
    fused_stack,
    recurrence,
)
from storyline.layers.arguments import check_input, check_lengths, check_resets, check_state
from storyline.layers.initialisation import check_remember, remember_steps, stretch_steps
from storyline.layers.trace import Trace

State: TypeAlias = Tensor | tuple[Tensor, ...]


class Recurrent(nn.RNNBase, ABC):
    """A stack of recurrent layers, tensor in, tensor out; the arguments are those of torch.nn and four more.

    remember: initialise the layer to hold a state for about this many steps, 3 or more (see
        `initialisation.remember_steps`); None starts as torch.nn does, with the same numbers for one seed.
    learn_initial_state: make the state before the first step, zeros in torch.nn, a parameter of the layer.
    backend: "auto", "torch" (fused operators) or "reference" (the plain loop); see `last_backend`.

    `last_backend` is (name, reason) of the last forward pass, None before the first.
    """

    cell: Cell
    last_backend: tuple[str, str] | None
    weight_ih_l0: Tensor

    def __init__(
        self,
        cell: Cell,
        mode: str,
        *sizes: Any,
        remember: int | None,
        learn_initial_state: bool,
        backend: str,
        **arguments: Any,
    ) -> None:
        check_remember(remember, cell.name, arguments["bias"])
        choose_backend(backend, cell)
        # Before torch's constructor, because that draws the weights.
        self.cell, self.remember, self.backend = cell, remember, backend
        self.learn_initial_state = learn_initial_state
        self.last_backend = None
        super().__init__(mode, *sizes, **arguments)
        if learn_initial_state:
            rows = self.num_layers * self._directions
            for name, size in zip(cell.states, self._state_sizes, strict=True):
                zeros = torch.zeros(rows, size, device=arguments["device"], dtype=arguments["dtype"])
                self.register_parameter(f"{name}_0", nn.Parameter(zeros))

    def reset_parameters(self) -> None:
        """Draw all weights anew: torch.nn's distribution, then `remember`; a learned initial state is 0."""
        super().reset_parameters()
        if self.remember is not None:
            for _, _, _, weights in self._parts():
                remember_steps(self.cell.name, weights, self.remember)
        for name in self.cell.states:
            if (learned := self._parameters.get(f"{name}_0")) is not None:
                nn.init.zeros_(learned)

    def stretch(self, factor: float) -> None:
        """Slow a trained layer down, in place, for data that comes in `factor` times as many steps.

        Raises ValueError for a layer without gates or biases, see `initialisation.stretch_steps`.
        """
        for _, _, _, weights in self._parts():
            stretch_steps(self.cell.name, weights, factor)

    def forward(
        self,
        input: Tensor,
        hx: State | None = None,
        *,
        lengths: Tensor | Sequence[int] | int | None = None,
        resets: Tensor | None = None,
        return_trace: bool = False,
    ) -> Any:
        """Read whole sequences.

        input: (time, batch, input_size); (batch, time, input_size) with batch_first; (time, input_size) for
            one sequence. What stands beyond `lengths`, NaN too, has no effect.
        hx: the initial state: h_0 (num_layers * directions, batch, hidden_size), for the LSTM (h_0, c_0);
            proj_size in the place of hidden_size for the h_0 of a projected LSTM; None: `initial_state`.
        lengths: (batch,) integers from 1 to time; the padding stands behind. In any order, and cheapest on
            the CPU. A reverse direction starts at each row's own last step. One integer for one sequence.
        resets: bool, (time, batch), with batch_first (batch, time), (time,) for one sequence. True at step t:
            the row's state is replaced by `initial_state` before step t is read, so that nothing passes from
            t - 1 to t, and in a reverse direction nothing from t to t - 1.
        return_trace: also return every state and gate, as a `Trace`.

        Returns output (time, batch, directions * hidden_size), 0 beyond `lengths`, and the last state of each
        row, shaped as hx; with return_trace the `Trace` third.
        Raises ValueError where an argument does not fit, TypeError for a PackedSequence.
        """
        check_input(input, self.input_size, self.weight_ih_l0.dtype, self.batch_first)
        batched, batch_first = input.dim() == 3, self.batch_first and input.dim() == 3
        time_first = input.transpose(0, 1) if batch_first else input if batched else input.unsqueeze(1)
        time, batch, _ = time_first.shape
        cut = check_resets(resets, batch if batched else None, time, batch_first)
        ends = check_lengths(lengths, batch if batched else None, time)
        state = self._state(hx, batch, batched)
        self.last_backend = choose_backend(
            self.backend, self.cell, trace=return_trace, resets=cut is not None, device=input.device
        )

        trace: dict[str, Recurrence] = {}
        if self.last_backend[0] == "torch" and ends is None and cut is None:
            output, last = self._dense(time_first, state)
        else:
            ragged = None if ends is None else Ragged(ends.to(input.device, non_blocking=True), time)
            cut = None if cut is None else cut.to(input.device)
            output, last = self._layer_by_layer(time_first, state, ragged, cut, trace)

        output = output.transpose(0, 1) if batch_first else output if batched else output.squeeze(1)
        if not batched:
            last = tuple(each.squeeze(1) for each in last)
        result = output, (last if len(last) > 1 else last[0])
        return (*result, self._trace(trace, batched, batch_first)) if return_trace else result

    def step(self, input: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Read one step, in constant time and memory however many came before.

        input (batch, input_size); state as `forward` takes and returns it, None: `initial_state`.
        Returns output (batch, hidden_size), proj_size for a projected LSTM, and the state after the step.
        Raises ValueError for a bidirectional layer, which needs the whole sequence.
        """
        if self.bidirectional:
            raise ValueError(
                "a bidirectional layer reads from both ends and has no single step; call it whole"
            )
        if input.dim() != 2:
            raise ValueError(f"input has {input.dim()} dimensions; one step is (batch, input_size)")
        check_input(input, self.input_size, self.weight_ih_l0.dtype, self.batch_first)
        before = self._state(state, input.shape[0], batched=True)
        after: list[CellState] = []
        output = input
        for index, layer, _, weights in self._parts():
            if layer > 0:
                output = functional.dropout(output, self.dropout, self.training)
            gates_x = functional.linear(output, weights.weight_ih, weights.bias_ih)
            row = tuple(each[index] for each in before)
            _, new = cell_step(self.cell, gates_x, row, weights.weight_hh, weights.bias_hh, weights.weight_hr)
            after.append(new)
            output = new[0]
        stacked = tuple(torch.stack(each) for each in zip(*after, strict=True))
        return output, stacked if len(stacked) > 1 else stacked[0]

    def initial_state(self, batch_size: int) -> State:
        """The state before the first step: zeros, or what was learned; shaped as `hx` of `forward`."""
        state = self._fresh(batch_size)
        return state if len(state) > 1 else state[0]

    def extra_repr(self) -> str:
        """The arguments that differ from their defaults, as torch.nn prints them."""
        text: str = super().extra_repr()
        if self.remember is not None:
            text += f", remember={self.remember}"
        if self.learn_initial_state:
            text += ", learn_initial_state=True"
        return text if self.backend == "auto" else f"{text}, backend={self.backend!r}"

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def _state_sizes(self) -> tuple[int, ...]:
        """The size of each state; the projection shrinks h, which comes first."""
        return (self.proj_size or self.hidden_size, *[self.hidden_size] * (len(self.cell.states) - 1))

    def _parts(self) -> Iterator[tuple[int, int, bool, Weights]]:
        """(place in the stack, layer, reverse, weights) of each layer and direction."""
        for index in range(self.num_layers * self._directions):
            layer, reverse = index // self._directions, index % self._directions == 1
            suffix = _suffix(layer, reverse)
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
            yield index, layer, reverse, Weights(*(getattr(self, name + suffix, None) for name in names))  # type: ignore[arg-type]

    def _fresh(self, batch: int) -> CellState:
        rows = self.num_layers * self._directions
        if self.learn_initial_state:
            learned = [getattr(self, f"{name}_0") for name in self.cell.states]
            return tuple(each.unsqueeze(1).expand(-1, batch, -1) for each in learned)
        return tuple(self.weight_ih_l0.new_zeros(rows, batch, size) for size in self._state_sizes)

    def _state(self, given: State | None, batch: int, batched: bool) -> CellState:
        if given is None:
            return self._fresh(batch)
        rows = self.num_layers * self._directions
        shapes = [(rows, batch, size) if batched else (rows, size) for size in self._state_sizes]
        state = check_state(given, self.cell.states, shapes, "the initial state")
        return state if batched else tuple(each.unsqueeze(1) for each in state)

    def _dense(self, input: Tensor, state: CellState) -> tuple[Tensor, CellState]:
        return fused_stack(
            self.cell,
            [weights for _, _, _, weights in self._parts()],
            input,
            tuple(each.contiguous() for each in state),
            num_layers=self.num_layers,
            dropout=self.dropout if self.training else 0.0,
            bidirectional=self.bidirectional,
        )

    def _layer_by_layer(
        self,
        input: Tensor,
        state: CellState,
        ragged: Ragged | None,
        resets: Tensor | None,
        trace: dict[str, Recurrence],
    ) -> tuple[Tensor, CellState]:
        """The stack, one layer and one direction at a time; leaves what the backend can trace in `trace`."""
        assert self.last_backend is not None
        fresh = self._fresh(input.shape[1])
        outputs: list[Tensor] = []
        last: list[CellState] = []
        below = input if ragged is None else ragged.clear(input)
        for index, layer, reverse, weights in self._parts():
            if layer > 0 and not reverse:
                below = functional.dropout(torch.cat(outputs, dim=-1), self.dropout, self.training)
                outputs = []
            initial, new = (tuple(each[index] for each in states) for states in (state, fresh))
            done = recurrence(
                self.last_backend[0], self.cell, weights, below, initial, new, ragged, resets, reverse=reverse
            )
            outputs.append(done.output)
            last.append(done.state)
            trace[_suffix(layer, reverse)] = done
        return torch.cat(outputs, dim=-1), tuple(torch.stack(each) for each in zip(*last, strict=True))

    def _trace(self, parts: dict[str, Recurrence], batched: bool, batch_first: bool) -> Trace:
        states: dict[str, Tensor] = {}
        gates: dict[str, Tensor] = {}
        for suffix, part in parts.items():
            assert part.scan is not None
            for target, source in ((states, part.scan.states), (gates, part.scan.gates)):
                for name, values in source.items():
                    shaped = values.transpose(0, 1) if batch_first else values
                    target[name + suffix] = shaped if batched else shaped.squeeze(1)
        return Trace(states, gates)


def _suffix(layer: int, reverse: bool) -> str:
    """What torch.nn appends to the names of a layer's parameters."""
    return f"_l{layer}_reverse" if reverse else f"_l{layer}"
