"""The bridge: an encoder's last states to a decoder's first ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from storyline.layers.decoding import Encoded

BRIDGES = ("learned", "copy", "zero")


class Bridge(nn.Module):
    """The states that a decoder starts from, out of those that the encoder ended in.

    source_size: of the encoder's states. hidden_size, num_layers, states: the decoder's sizes and the names of its
        cell's states. Each is made of the encoder's state of the same name, of h where it has none of that
        name; a decoder of as many layers as the encoder reads layer by layer, any other the encoder's last layer.
    kind: "learned": tanh(W s + b), with a matrix of its own for each layer and state (Bahdanau et al. 2015, appendix
        A.2.2, which has no b). "copy": s itself (Sutskever et al. 2014). "zero": an empty state, the source being
        seen through attention alone.
    constant: states that always begin as a number: the normaliser of the sLSTM as 1.
    """

    def __init__(
        self,
        source_size: int,
        hidden_size: int,
        num_layers: int,
        states: Sequence[str],
        *,
        kind: str = "learned",
        constant: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        if kind not in BRIDGES:
            raise ValueError(f"bridge is {kind!r}; it must be one of {', '.join(map(repr, BRIDGES))}")
        if kind == "copy" and source_size != hidden_size:
            raise ValueError(
                f"bridge='copy' hands states on as they are, but the encoder's have {source_size} channels and the "
                f"decoder's {hidden_size}; make them equal, or take bridge='learned'"
            )
        self.source_size, self.hidden_size, self.num_layers = source_size, hidden_size, num_layers
        self.states, self.kind = tuple(states), kind
        self.constant = {} if kind == "copy" else dict(constant or {})
        self.weights, self.biases = nn.ParameterDict(), nn.ParameterDict()
        if kind == "learned":
            for name in self.states:
                if name not in self.constant:
                    bound = source_size**-0.5  # of nn.Linear
                    weight = torch.empty(num_layers, source_size, hidden_size).uniform_(-bound, bound)
                    self.weights[name] = nn.Parameter(weight)
                    self.biases[name] = nn.Parameter(torch.zeros(num_layers, 1, hidden_size))

    def forward(self, encoded: Encoded) -> dict[str, Tensor]:
        """The decoder's states by name, each (num_layers, batch, hidden_size).

        Raises ValueError where the source has no states, as that of a Transformer, or states of another size.
        """
        batch, like = encoded.output.shape[0], encoded.output
        if self.kind == "zero":
            shape = (self.num_layers, batch, self.hidden_size)
            return {name: like.new_full(shape, self.constant.get(name, 0.0)) for name in self.states}
        return {name: self._state(name, encoded) for name in self.states}

    def _state(self, name: str, encoded: Encoded) -> Tensor:
        if name in self.constant:
            shape = (self.num_layers, encoded.output.shape[0], self.hidden_size)
            return encoded.output.new_full(shape, self.constant[name])
        given = self._given(name, encoded.states)
        if self.kind == "copy":
            return given
        return torch.tanh(torch.baddbmm(self.biases[name], given, self.weights[name]))

    def _given(self, name: str, states: Mapping[str, Tensor]) -> Tensor:
        """(num_layers, batch, source_size): what a state of the decoder is made of."""
        if self.kind == "copy" and name not in states:
            raise ValueError(
                f"bridge='copy' needs the encoder's state {name!r}, but it has {_names(states)}; give encoder and "
                "decoder the same core, or take bridge='learned'"
            )
        given = states.get(name, states.get("h"))
        if given is None:
            raise ValueError(
                f"bridge={self.kind!r} needs the encoder's last states, but it has {_names(states)}; take bridge='zero'"
            )
        if given.shape[-1] != self.source_size:
            raise ValueError(
                f"the encoder's state {name!r} has {given.shape[-1]} channels; this bridge reads "
                f"source_size={self.source_size}"
            )
        if len(given) == self.num_layers:
            return given
        if self.kind == "copy":
            raise ValueError(
                f"bridge='copy' hands states on layer by layer, but the encoder has {len(given)} layers and the "
                f"decoder {self.num_layers}; make them equal, or take bridge='learned'"
            )
        return given[-1:].expand(self.num_layers, -1, -1)


def _names(states: Mapping[str, Tensor]) -> str:
    return ", ".join(map(repr, states)) or "none"
