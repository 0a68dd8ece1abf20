"""A model made ready for decoding: its weights packed once for the many small products of a search."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, final

import torch
from torch import Tensor, nn

from storyline.cells import State as CellState
from storyline.kernels import PackedStep, Projection, why_no_projection, why_not_cpu
from storyline.layers.head import LinearHead, TiedHead
from storyline.layers.packed_decoder import PackedRecurrentDecoder, can_be_packed
from storyline.layers.packed_encoder import PackedRecurrentEncoder
from storyline.layers.recurrent import Recurrent
from storyline.layers.recurrent_core import RecurrentCore
from storyline.layers.recurrent_decoder import RecurrentDecoder
from storyline.layers.recurrent_encoder import RecurrentEncoder

M = TypeVar("M", bound=nn.Module)


@final
@dataclass(frozen=True)
class PackedScores:
    """What may come next, without scores of all of it in memory. Search takes it as it takes scores.

    inputs  (rows, input_size): what the projection to the vocabulary reads
    """

    inputs: Tensor
    projection: Projection

    def likeliest(self, count: int, end: int, forbidden: Sequence[int] = ()) -> tuple[Tensor, Tensor, Tensor]:
        """Log probabilities of the likeliest tokens but `end` and `forbidden`, those tokens, and that of the end.

        (rows, count) each, best first, and (rows,); see `Projection.likeliest`.
        """
        return self.projection.likeliest(self.inputs, count, end, forbidden)

    def whole(self) -> Tensor:
        """All scores, before the softmax: (rows, vocabulary)."""
        return self.projection(self.inputs)


def packed(module: M, *, encoders: bool = True) -> M:
    """A module that computes what `module` does in evaluation, faster where rows are few; to be used without gradients.

    Its weights are those of now: pack anew where they may have changed. On the CPU, in float32 or float64, with native
    kernels, linear maps and single steps of unidirectional recurrent layers run on packed weights, and a `LinearHead`
    or `TiedHead` returns `PackedScores` in the place of scores. All else is shared with `module`, and runs as there;
    recurrent encoders and decoders also keep what they made of the vectors of tokens that they were told to `read`.
    What the packed parts make of a row has the same bits whatever rows are beside it.

    encoders: recurrent encoders too, which pays where the same tokens come again and again

    Raises ValueError for a module in training.
    """
    if module.training:
        raise ValueError(f"the {type(module).__name__} is in training; call eval() first")
    same: M = _packed(module, {}, encoders)
    return same


def _packed(module: Any, done: dict[int, nn.Module], encoders: bool) -> Any:
    if id(module) in done:
        return done[id(module)]
    replacement = _replacement(module, encoders)
    if replacement is None:
        replacement = copy.copy(module)
        children = {
            name: None if child is None else _packed(child, done, encoders)
            for name, child in module._modules.items()
        }
        replacement.__dict__["_modules"] = children
    if isinstance(module, RecurrentDecoder):
        replacement = _packed_decoder(module, replacement)
    done[id(module)] = replacement
    return replacement


def _replacement(module: nn.Module, encoders: bool) -> nn.Module | None:
    """What stands for a part; None: itself, with its parts replaced."""
    if isinstance(
        module, PackedHead | PackedLinear | PackedRecurrent | PackedRecurrentDecoder | PackedRecurrentEncoder
    ):
        return module
    if isinstance(module, LinearHead | TiedHead):
        weight = module.linear.weight if isinstance(module, LinearHead) else module.weight
        return PackedHead(module) if why_no_projection(weight) is None else None
    if type(module) is nn.Linear:
        return PackedLinear(module) if why_no_projection(module.weight) is None else None
    if isinstance(module, Recurrent):
        return PackedRecurrent(module) if _fits(module) and not module.bidirectional else module
    if encoders and type(module) is RecurrentEncoder and not _watched(module):
        (first, *_) = (core.layer for core in module.cores if isinstance(core, RecurrentCore))
        return PackedRecurrentEncoder(module) if _fits(first) and not _watched(first) else None
    return None


def _watched(module: nn.Module) -> bool:
    """Whether hooks want to see its calls, or, of a layer, a class of the user's has another forward."""
    hooks = module._forward_hooks or module._forward_pre_hooks
    return bool(hooks) or (isinstance(module, Recurrent) and type(module).forward is not Recurrent.forward)


def _fits(layer: Recurrent) -> bool:
    weight = layer.weight_ih_l0
    return (
        layer.backend in ("auto", "cpu")
        and not layer.rates.active(training=False)
        and why_not_cpu(layer.cell, weight.device, weight.dtype) is None
    )


def _packed_decoder(decoder: RecurrentDecoder, parts_packed: Any) -> nn.Module:
    layers = [core.layer for core in decoder.cores if isinstance(core, RecurrentCore)]
    if decoder.combine is None or not can_be_packed(decoder) or not all(map(_fits, layers)):
        same: nn.Module = parts_packed
        return same
    return PackedRecurrentDecoder(parts_packed, layers, decoder.combine)


@final
class PackedLinear(nn.Module):
    """An nn.Linear on packed weights."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bias = linear.weight, linear.bias
        self.projection = Projection(linear.weight, linear.bias)
        self.eval()

    def forward(self, input: Tensor) -> Tensor:
        """(..., in_features) -> (..., out_features)."""
        return self.projection(input)


@final
class PackedHead(nn.Module):
    """A LinearHead or TiedHead on packed weights."""

    def __init__(self, head: LinearHead | TiedHead) -> None:
        super().__init__()
        self.first: nn.Module = nn.Identity()
        if isinstance(head, LinearHead):
            self.projection = Projection(head.linear.weight, head.linear.bias)
        else:
            self.projection = Projection(head.weight, head.bias)
            if isinstance(head.projection, nn.Linear):
                self.first = PackedLinear(head.projection)
        self.eval()

    def forward(self, inputs: Tensor) -> PackedScores:
        """What may come next, of inputs (rows, input_size)."""
        return PackedScores(self.first(inputs), self.projection)


@final
class PackedRecurrent(nn.Module):
    """A recurrent stack whose single steps run on packed weights; whole sequences run on the layer itself."""

    def __init__(self, layer: Recurrent) -> None:
        super().__init__()
        self.layer = layer
        self.steps = [PackedStep(layer.cell, weights) for _, _, _, weights in layer._parts()]
        self.eval()

    def __getattr__(self, name: str) -> Any:
        """What else is asked of a layer: its cell, its rates of noise, ..."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("layer"), name)

    def forward(self, input: Tensor, hx: Any = None, **more: Any) -> Any:
        """As the layer's."""
        time = 1 if self.layer.batch_first else 0
        single = hx is not None and input.dim() == 3 and input.shape[time] == 1
        if not single or any(each is not None and each is not False for each in more.values()):
            return self.layer(input, hx, **more)
        below, after = input.select(time, 0), list[CellState]()
        states = (hx,) if isinstance(hx, Tensor) else hx
        for index, step in enumerate(self.steps):
            after.append(step(below, tuple(each[index] for each in states)))
            below = after[-1][0]
        output = below.unsqueeze(time)
        if len(after) == 1:
            last = tuple(each.unsqueeze(0) for each in after[0])
        else:
            last = tuple(torch.stack(each) for each in zip(*after, strict=True))
        return output, last if len(last) > 1 else last[0]
