"""Recurrent stacks: what RNN, LSTM, GRU and their kin share."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, ClassVar, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from storyline.cells import Cell, Noise
from storyline.cells import State as CellState
from storyline.cells.cell import step as cell_step
from storyline.kernels import (
    Ragged,
    Recurrence,
    Weights,
    checkpointed,
    choose_backend,
    fused_stack,
    recurrence,
)
from storyline.layers.arguments import check_every, check_input, check_lengths, check_resets, check_state
from storyline.layers.initialisation import check_remember, remember_steps, stretch_steps
from storyline.layers.noise import NoiseRates
from storyline.layers.parameters import (
    TORCH_MODES,
    shape_parameters,
    start_own,
    suffix,
    suffixes,
    weights_of,
)
from storyline.layers.plain_call import forget_plain_call, plain_call
from storyline.layers.stream import Stream, stream_of
from storyline.layers.trace import collect_trace

State: TypeAlias = Tensor | tuple[Tensor, ...]


class Recurrent(nn.RNNBase, ABC):
    """A stack of recurrent layers, tensor in, tensor out; the arguments are those of torch.nn and six more.

    zoneout: the probability that a unit keeps its old state at a step; one rate, or for the LSTM a pair for h
        and c. In evaluation every unit keeps that share of its old state (Krueger et al. 2017).
    recurrent_dropout: the probability that a channel of h is hidden from weight_hh, the same channels at all
        steps of a sequence (Gal and Ghahramani 2016). In training only.
    remember: initialise the layer to hold a state for about this many steps, 3 or more (see
        `initialisation.remember_steps`); None starts as torch.nn does, with the same numbers for one seed.
    learn_initial_state: make the state before the first step, zeros in torch.nn, a parameter of the layer.
    backend: "auto", "cpu" (the native kernels), "torch" (fused operators), "triton" (our own kernels for GPUs) or
        "reference" (the plain loop); see `last_backend`.
    checkpoint_every: for very long sequences: where gradients are wanted, keep the state every so many steps and
        compute the steps between once more on the way back; None keeps all. Costs a third of the time or so. The
        gradients are those of the plain run; those of weights are summed piece by piece, and differ by
        rounding: in the last bits, and over a million steps of float32 in the fourth digit, where the pieces are
        the more exact. What remains in memory: input and output of each layer and direction, their gradients, the
        masks of dropout and zoneout, a state for each piece, and all that one piece of `checkpoint_every` steps
        needs; about sqrt(time) is a good choice. A trace holds every state, so return_trace=True saves nothing;
        nor does a second derivative. Raises ValueError under the transforms of torch.func.

    Noise is drawn from torch's global generator, anew for every forward pass, so for every chunk too.
    `last_backend` is (name, reason) of the last forward pass, None before the first.
    """

    # States that learn_initial_state leaves alone, and the number at which each then stands.
    unlearned: ClassVar[dict[str, float]] = {}

    cell: Cell
    last_backend: tuple[str, str] | None
    weight_ih_l0: Tensor

    def __init__(
        self,
        cell: Cell,
        *sizes: Any,
        zoneout: Any = 0.0,
        recurrent_dropout: float = 0.0,
        remember: int | None = None,
        learn_initial_state: bool,
        backend: str,
        checkpoint_every: int | None = None,
        variant: str = "",
        **arguments: Any,
    ) -> None:
        """`variant`: which of its cells the layer runs, as `extra_repr` says it."""
        bias = arguments["bias"]
        check_remember(remember, cell, bias)
        if cell.has_own_bias and not bias:
            raise ValueError(f"bias is False, but {cell.name} cannot do without its bias; take bias=True")
        # Before torch's constructor, because that draws the weights.
        self.cell, self.remember, self.backend, self.variant = cell, remember, backend, variant
        self.checkpoint_every = check_every(checkpoint_every)
        self.rates = NoiseRates.checked(cell, recurrent_dropout, zoneout)
        self.learn_initial_state = learn_initial_state
        self.last_backend = None
        noise, projected = self.rates.active(training=True), bool(arguments.get("proj_size"))
        choose_backend(backend, cell, noise=noise, projected=projected)
        mode = TORCH_MODES.get(cell.name)
        self._shaped = mode is not None
        arguments["bias"] = bias and not cell.has_own_bias
        super().__init__(mode or "RNN_TANH", *sizes, **arguments)
        if not self._shaped:
            # torch's constructor has checked the arguments and named the parameters of a vanilla network.
            shape_parameters(self, cell)
            self.mode, self.bias, self._shaped = cell.name.upper(), bias, True
            self.reset_parameters()
        if learn_initial_state:
            for name, size in zip(cell.states, self._state_sizes, strict=True):
                if name not in self.unlearned:
                    zeros = self.weight_ih_l0.new_zeros(self._rows, size)
                    self.register_parameter(f"{name}_0", nn.Parameter(zeros))

    def reset_parameters(self) -> None:
        """Draw all weights anew: torch.nn's distribution, then `remember`; a learned initial state is 0."""
        if not self._shaped:
            return  # called by torch's constructor, on parameters that will not stay
        super().reset_parameters()
        for _, _, _, weights in self._parts():
            start_own(self.cell, weights)
            if self.remember is not None:
                remember_steps(self.cell, weights, self.remember)
        for name in self.cell.states:
            if (learned := self._parameters.get(f"{name}_0")) is not None:
                nn.init.zeros_(learned)

    def flatten_parameters(self) -> None:
        """Lay the weights out for cuDNN, as torch.nn does; nothing where cuDNN has no such cell."""
        if self.cell.name in TORCH_MODES:
            super().flatten_parameters()

    def stretch(self, factor: float) -> None:
        """Slow a trained layer down, in place, for data that comes in `factor` times as many steps.

        Raises ValueError for a layer without gates or biases, see `initialisation.stretch_steps`.
        """
        for _, _, _, weights in self._parts():
            stretch_steps(self.cell, weights, factor)

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
        if lengths is None and resets is None and not return_trace:
            done = plain_call(self, input, hx)
            if done is not None:
                return done
        check_input(input, self.input_size, self.weight_ih_l0, self.batch_first)
        batched, batch_first = input.dim() == 3, self.batch_first and input.dim() == 3
        time_first = input.transpose(0, 1) if batch_first else input if batched else input.unsqueeze(1)
        time, batch, _ = time_first.shape
        cut = check_resets(resets, batch if batched else None, time, batch_first)
        ends = check_lengths(lengths, batch if batched else None, time)
        state = self._state(hx, batch, batched)
        backend = choose_backend(
            self.backend,
            self.cell,
            device=input.device,
            dtype=self.weight_ih_l0.dtype,
            trace=return_trace,
            noise=self.rates.active(self.training),
            ragged=ends is not None,
            resets=cut is not None,
            projected=self.proj_size > 0,
        )
        # Not by an assignment, for which a module of torch.nn takes as long as a short call does here.
        self.__dict__["last_backend"] = backend

        trace: dict[str, Recurrence] = {}
        every = None if return_trace else self.checkpoint_every
        if backend[0] == "torch" and ends is None and cut is None and every is None:
            output, last = self._dense(time_first, state)
        else:
            ragged = None if ends is None else Ragged(ends.to(input.device, non_blocking=True), time)
            cut = None if cut is None else cut.to(input.device)
            output, last = self._layer_by_layer(time_first, state, ragged, cut, trace, every)

        output = output.transpose(0, 1) if batch_first else output if batched else output.squeeze(1)
        if not batched:
            last = tuple(each.squeeze(1) for each in last)
        result = output, (last if len(last) > 1 else last[0])
        return (*result, collect_trace(trace, batched, batch_first)) if return_trace else result

    def step(self, input: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Read one step, in constant time and memory however many came before.

        input (batch, input_size); state as `forward` takes and returns it, None: `initial_state`.
        Returns output (batch, hidden_size), proj_size for a projected LSTM, and the state after the step.
        Raises ValueError for a bidirectional layer, which needs the whole sequence, and in training with
        recurrent_dropout, whose mask is one for a whole sequence. Zoneout in training is drawn for each step.
        """
        if self.bidirectional:
            raise ValueError(
                "a bidirectional layer reads from both ends and has no single step; call it whole"
            )
        if self.training and self.rates.recurrent_dropout:
            raise ValueError(
                "recurrent_dropout hides the same channels for a whole sequence, which a single step does not "
                "know; call the layer whole, or step() after eval()"
            )
        if isinstance(input, Tensor) and input.dim() != 2:
            raise ValueError(f"input has {input.dim()} dimensions; one step is (batch, input_size)")
        check_input(input, self.input_size, self.weight_ih_l0, self.batch_first)
        before = self._state(state, input.shape[0], batched=True)
        after: list[CellState] = []
        output = input
        for index, layer, _, weights in self._parts():
            if layer > 0:
                output = functional.dropout(output, self.dropout, self.training)
            gates_x = functional.linear(output, weights.weight_ih, weights.bias_ih)
            row = tuple(each[index] for each in before)
            noise = self._noise(1, len(input))
            _, new = cell_step(
                self.cell, gates_x, row, weights.weight_hh, weights.bias_hh, weights.weight_hr, weights.own,
                noise and noise.at(0),
            )  # fmt: skip
            after.append(new)
            output = new[0]
        stacked = tuple(torch.stack(each) for each in zip(*after, strict=True))
        return output, stacked if len(stacked) > 1 else stacked[0]

    def stream(self, batch: int = 1, *, weights: torch.dtype | None = None) -> Stream:
        """A `Stream`: an object that keeps the state of `batch` sequences and reads them step by step, fast.

        It holds a copy of the weights and computes as the layer does after eval().
        weights: torch.bfloat16 rounds the matrices of a float32 layer to it, to within 1 part in 256 each, and
            keeps them in half the memory; sums stay float32. None: as they are.
        Raises ValueError for a bidirectional layer, and where the layer was built with backend="cpu" and that
        cannot serve.
        """
        return stream_of(self, batch, weights)

    def initial_state(self, batch_size: int) -> State:
        """The state before the first step: zeros, or what was learned; shaped as `hx` of `forward`."""
        state = self._fresh(batch_size)
        return state if len(state) > 1 else state[0]

    def __getstate__(self) -> dict[str, Any]:
        return forget_plain_call(super().__getstate__())  # type: ignore[no-untyped-call]

    def extra_repr(self) -> str:
        """The arguments that differ from their defaults, as torch.nn prints them."""
        text: str = super().extra_repr() + self.variant + self.rates.describe()
        if self.remember is not None:
            text += f", remember={self.remember}"
        if self.learn_initial_state:
            text += ", learn_initial_state=True"
        if self.backend != "auto":
            text += f", backend={self.backend!r}"
        return text if self.checkpoint_every is None else f"{text}, checkpoint_every={self.checkpoint_every}"

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def _rows(self) -> int:
        """How many layers and directions there are."""
        return self.num_layers * self._directions

    @property
    def _state_sizes(self) -> tuple[int, ...]:
        """The size of each state; the projection shrinks h, which comes first."""
        return (self.proj_size or self.hidden_size, *[self.hidden_size] * (len(self.cell.states) - 1))

    def _parts(self) -> Iterator[tuple[int, int, bool, Weights]]:
        """(place in the stack, layer, reverse, weights) of each layer and direction."""
        for index, end in enumerate(suffixes(self)):
            reverse = index % self._directions == 1
            yield index, index // self._directions, reverse, weights_of(self, self.cell, end)

    def _noise(self, time: int, batch: int) -> Noise | None:
        return self.rates.draw(self.training, time, batch, self._state_sizes, self.weight_ih_l0)

    def _fresh(self, batch: int) -> CellState:
        if not self.learn_initial_state:
            weight, rows = self.weight_ih_l0, self._rows
            return tuple([weight.new_zeros(rows, batch, size) for size in self._state_sizes])
        return tuple(
            self.weight_ih_l0.new_full((self._rows, batch, size), self.unlearned[name])
            if name in self.unlearned
            else getattr(self, f"{name}_0").unsqueeze(1).expand(-1, batch, -1)
            for name, size in zip(self.cell.states, self._state_sizes, strict=True)
        )

    def _state(self, given: State | None, batch: int, batched: bool) -> CellState:
        if given is None:
            return self._fresh(batch)
        shapes = [(self._rows, batch, size) if batched else (self._rows, size) for size in self._state_sizes]
        state = check_state(given, self.cell.states, shapes, "the initial state", self.weight_ih_l0)
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
        every: int | None,
    ) -> tuple[Tensor, CellState]:
        """The stack, one layer and one direction at a time; leaves what the backend can trace in `trace`."""
        assert self.last_backend is not None
        run = recurrence if every is None else partial(checkpointed, every)
        fresh = state if resets is None else self._fresh(input.shape[1])  # read at resets alone
        outputs: list[Tensor] = []
        last: list[CellState] = []
        native = self.last_backend[0] == "cpu"  # which never reads the padding
        below = input if ragged is None or native else ragged.clear(input)
        for index, layer, reverse, weights in self._parts():
            if layer > 0 and not reverse:
                below = functional.dropout(_join(outputs), self.dropout, self.training)
                outputs = []
            initial = tuple([each[index] for each in state])
            new = initial if resets is None else tuple([each[index] for each in fresh])
            done = run(
                self.last_backend[0], self.cell, weights, below, initial, new, ragged, resets,
                reverse=reverse, noise=self._noise(*below.shape[:2]),
            )  # fmt: skip
            outputs.append(done.output)
            last.append(done.state)
            trace[suffix(layer, reverse)] = done
        output = _join(outputs)
        # A copy where the backward pass or a trace reads the output, so that it may be written to in place.
        unread = len(outputs) > 1 or every is not None or (native and not output.requires_grad)
        output = output if unread else output.clone()
        if len(last) > 1:
            return output, tuple(torch.stack(each) for each in zip(*last, strict=True))
        return output, tuple([each.unsqueeze(0) for each in last[0]])


def _join(outputs: Sequence[Tensor]) -> Tensor:
    """The directions side by side; one alone is not copied."""
    return torch.cat(list(outputs), dim=-1) if len(outputs) > 1 else outputs[0]
