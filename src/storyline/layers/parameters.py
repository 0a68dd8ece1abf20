"""The parameters of a recurrent stack: torch.nn's where torch.nn has the cell, else those that the cell names."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from storyline.cells import Cell
from storyline.kernels import Weights

# What torch.nn calls the cells that it has.
TORCH_MODES = {"rnn_tanh": "RNN_TANH", "rnn_relu": "RNN_RELU", "lstm": "LSTM", "gru": "GRU"}

# What every recurrent layer may have.
SHARED = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")


def suffix(layer: int, reverse: bool) -> str:
    """What torch.nn appends to the names of a layer's parameters."""
    return f"_l{layer}_reverse" if reverse else f"_l{layer}"


def suffixes(module: nn.RNNBase) -> list[str]:
    """Of all layers and directions, in the order of the stack."""
    directions = (False, True) if module.bidirectional else (False,)
    return [suffix(layer, reverse) for layer in range(module.num_layers) for reverse in directions]


def weights_of(module: nn.RNNBase, cell: Cell, end: str) -> Weights:
    """The parameters of the layer and direction with this suffix."""
    held = module._parameters  # an attribute of a module costs ten times a look into its dictionary

    def of(name: str) -> Tensor | None:
        name += end
        # What another module computes from parameters of its own is no parameter.
        return held[name] if name in held else getattr(module, name, None)

    names = SHARED if module.proj_size else SHARED[:-1]
    own = tuple([getattr(module, each.name + end) for each in cell.parameters])
    return Weights(*[of(name) for name in names], own=own)  # type: ignore[arg-type, misc]


def shape_parameters(module: nn.RNNBase, cell: Cell) -> None:
    """Give `module`, built by torch.nn for a vanilla network, the parameters of `cell`, not yet drawn.

    Their names are torch.nn's; the cell's own come behind, under their own names and the same suffixes.
    Raises ValueError where the heads do not divide the size of h.
    """
    rows, h_size = cell.preactivations * module.hidden_size, module.proj_size or module.hidden_size
    if h_size % cell.heads:
        raise ValueError(f"hidden_size is {h_size} and num_heads {cell.heads}; it must be a multiple of them")
    for end in suffixes(module):
        old = module.get_parameter("weight_ih" + end)
        shapes: dict[str, tuple[int, ...]] = {
            "weight_ih": (rows, old.shape[1]),
            "weight_hh": (rows, h_size // cell.heads),
            "bias_ih": (rows,),
            "bias_hh": (rows,),
        }
        for name, shape in shapes.items():
            if hasattr(module, name + end):
                setattr(module, name + end, nn.Parameter(old.new_empty(shape)))
        for each in cell.parameters:
            values = old.new_empty(each.shape(module.hidden_size))
            module.register_parameter(each.name + end, nn.Parameter(values))


@torch.no_grad()
def start_own(cell: Cell, weights: Weights) -> None:
    """Set those of the cell's own parameters that start from a number to it."""
    for each, values in zip(cell.parameters, weights.own, strict=True):
        if each.start is not None:
            values.fill_(each.start)
