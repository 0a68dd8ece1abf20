"""Whose capabilities are tried, and how an answer is compared with the reference in float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

import storyline.layers as ours
from storyline.layers.agreement import distance

KINDS = ("RNN", "LSTM", "GRU")
TIME, BATCH, INPUT, HIDDEN = 3, 2, 3, 4


@dataclass(frozen=True)
class Trial:
    """One layer that is asked, and what it is asked with.

    dtype: what the random numbers are rounded to, so that layers of several dtypes are asked the same.
    """

    layer: nn.RNNBase
    dtype: torch.dtype

    def draw(self, *shape: int, seed: int = 0) -> Tensor:
        """Random numbers, the same for one seed and shape, in the dtype of the layer."""
        generator = torch.Generator().manual_seed(seed)
        values = torch.randn(*shape, generator=generator, dtype=torch.float64).to(self.dtype)
        return values.to(next(self.layer.parameters()).dtype)

    def input(self, *more: int) -> Tensor:
        """(*more, time, batch, input_size)."""
        return self.draw(*more, TIME, BATCH, INPUT)

    def loss(self, result: Any) -> Tensor:
        """One number that every value of a result moves."""
        return torch.stack([(each * torch.cos(each)).sum() for each in flat(result)]).sum()


Ask: TypeAlias = Callable[[Trial], list[Tensor]]


@dataclass(frozen=True)
class Subject:
    """A layer that can be asked for; backend None is torch.nn's."""

    kind: str
    backend: str | None

    @property
    def name(self) -> str:
        """The head of its column."""
        return f"torch.nn.{self.kind}" if self.backend is None else self.backend

    def layer(self, dtype: torch.dtype = torch.float32, **arguments: Any) -> Any:
        """A layer with the weights of one seed. Raises what the constructor raises."""
        # Not fork_rng: drawing on the CPU needs no look at other devices.
        before = torch.get_rng_state()
        torch.manual_seed(1)
        try:
            if self.backend is None:
                return getattr(nn, self.kind)(INPUT, HIDDEN, dtype=dtype, **arguments)
            return getattr(ours, self.kind)(INPUT, HIDDEN, dtype=dtype, backend=self.backend, **arguments)
        finally:
            torch.set_rng_state(before)

    def agree(
        self,
        ask: Ask,
        plain: Ask | None = None,
        *,
        own: Ask | None = None,
        dtype: torch.dtype = torch.float32,
        **arguments: Any,
    ) -> str | None:
        """Ask the layer, compare with the plain loop in float64, and say which backend served.

        plain: the question put without the capability that is tried; `ask` itself if there is no other way.
        own: the question whose rounding error in `dtype`, on the plain loop, is the yardstick: an answer may
        be wrong by 4 times that and 1e-7. Raises ArithmeticError where it is further off.
        """
        layer = self.layer(dtype, **arguments)
        _disturb(layer)
        found = ask(Trial(layer, dtype))
        answers = []
        for question, type_ in ((plain or ask, torch.float64), (own or plain or ask, dtype)):
            loop = Subject(self.kind, "reference").layer(type_, **arguments)
            loop.load_state_dict(layer.state_dict())
            answers.append(_double(question(Trial(loop, dtype))))
        error, yardstick = distance(_double(found), answers[0]), distance(answers[1], answers[0])
        if not error <= 4 * yardstick + 1e-7:
            raise ArithmeticError(f"wrong numbers: off by {error:.1e}, the plain loop by {yardstick:.1e}")
        served = getattr(layer, "last_backend", None)
        return None if served is None else str(served[0])


def flat(result: Any) -> list[Tensor]:
    """(output, last state) as a list; a packed output comes padded."""
    output, last = result[0], result[1]
    if isinstance(output, PackedSequence):
        output = pad_packed_sequence(output)[0]
    return [output, *last] if isinstance(last, tuple) else [output, last]


def with_gradients(trial: Trial, call: Callable[[Tensor], Any], input: Tensor) -> list[Tensor]:
    """The values of `call(input)`, and the gradients of input and weights."""
    input = input.detach().requires_grad_()
    result = call(input)
    gradients = torch.autograd.grad(trial.loss(result), [input, *trial.layer.parameters()])
    return [*flat(result), *gradients]


def _disturb(layer: nn.Module) -> None:
    """Give a learned initial state, which starts at 0, numbers that would be missed."""
    for name, value in layer.named_parameters():
        if name in ("h_0", "c_0"):
            nn.init.constant_(value, 0.5)


def _double(tensors: list[Tensor]) -> list[Tensor]:
    return [each.detach().double() for each in tensors]
