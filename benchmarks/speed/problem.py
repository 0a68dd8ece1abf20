"""The numbers of a case: input, lengths, weights; and the answer that every implementation owes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

import storyline
from benchmarks.speed.cases import Case

# "output" (time, batch, size), 0 beyond the lengths; "h_n" and "c_n" (directions, batch, hidden_size); in training
# "grad input" and "grad <parameter>" for every parameter of the layer.
Answer: TypeAlias = Mapping[str, np.ndarray]

LAYERS: dict[str, Callable[..., Any]] = {
    "lstm": storyline.LSTM,
    "gru": storyline.GRU,
    "rnn": storyline.RNN,
}


class UnavailableError(Exception):
    """An implementation cannot do a case here; the message says why."""


@dataclass(frozen=True)
class Implementation:
    """One way to do a case.

    run: the work once; what it returns is ready to be read, and thrown away.
    answer: does the work once and returns all that it found, for the comparison.
    around: entered around a series of runs, as a user would around a loop.
    """

    run: Callable[[], object]
    answer: Callable[[], Answer]
    around: Callable[[], AbstractContextManager[Any]] = nullcontext


@dataclass(frozen=True)
class Problem:
    """What every implementation of a case is given.

    input (time, batch, hidden_size), random in the padding too; lengths (batch,) int64, or None; weights: the
    state_dict of our layer; cotangent: the gradient of the output, shaped as it, not 0 in the padding.
    """

    case: Case
    input: Tensor
    lengths: Tensor | None
    weights: dict[str, Tensor]
    cotangent: Tensor

    @classmethod
    def draw(cls, case: Case) -> Problem:
        """The same numbers every time. Raises UnavailableError where our layers cannot be built so."""
        torch.manual_seed(0)
        weights = layer(case, "reference").state_dict()
        for name in weights:
            if name.startswith("gain_h"):
                # At 1, as it is initialised, random weights are chaotic: the rounding of float32 grows from 1e-6 of the
                # output to 0.2 in 200 steps, for any implementation, and parity could not be told from error.
                weights[name] = torch.full_like(weights[name], 0.5)
        time, batch, size = case.time, case.batch, case.hidden_size
        lengths = None
        if case.ragged:
            lengths = torch.randint(max(1, time // 4), time + 1, (batch,))
            lengths[batch // 2] = time  # whoever collates a batch pads to its longest row
        input = torch.randn(time, batch, size)
        cotangent = torch.randn(time, batch, (2 if case.bidirectional else 1) * size)
        return cls(case, input, lengths, weights, cotangent)

    @property
    def row_steps(self) -> int:
        """The steps of all rows that one sample times, without the padding."""
        if self.case.work == "step":
            return self.case.batch
        return self.case.time * self.case.batch if self.lengths is None else int(self.lengths.sum())

    def reference(self) -> Answer:
        """The plain loop over our cell's equations, in float64."""
        module = layer(self.case, "reference").double()
        module.load_state_dict(self.weights)
        input = self.input.double().requires_grad_()
        output, state = module(input, lengths=self.lengths)
        gradients: dict[str, Tensor] = {}
        if self.case.work == "training":
            wanted = {"input": input, **dict(module.named_parameters())}
            found = torch.autograd.grad(output, list(wanted.values()), self.cotangent.double())
            gradients = dict(zip(wanted, found, strict=True))
        return answer(output, state, gradients)


def layer(case: Case, backend: str) -> Any:
    """Our layer for `case`, its weights freshly drawn; UnavailableError where it cannot be had."""
    more = {"layer_norm": True} if case.layer_norm else {}
    size = case.hidden_size
    try:
        return LAYERS[case.cell](size, size, bidirectional=case.bidirectional, backend=backend, **more)
    except (TypeError, ValueError) as error:
        raise UnavailableError(str(error)) from error


def answer(
    output: Tensor, state: Tensor | tuple[Tensor | None, ...], gradients: Mapping[str, Tensor]
) -> Answer:
    """Tensors as an Answer; a state that is None is left out."""
    states = state if isinstance(state, tuple) else (state,)
    found = {"output": output, **dict(zip(("h_n", "c_n"), states, strict=False))}
    found |= {f"grad {name}": value for name, value in gradients.items()}
    return {name: value.detach().numpy() for name, value in found.items() if value is not None}
