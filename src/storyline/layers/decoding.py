"""What passes from an encoder to a decoder, and what a decoder carries from token to token."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Encoded:
    """A batch of sources as a decoder sees them.

    output   (batch, source, size): what each token of the source became; what stands in the padding is not read
    lengths  (batch,) int64: tokens of each source, at least 1
    states   the states after the last token, by the cell's names (h, c): (layers, batch, size); none of a Transformer
    """

    output: Tensor
    lengths: Tensor
    states: Mapping[str, Tensor] = field(default_factory=dict)

    def padding(self) -> Tensor:
        """(batch, source) bool: True where a source has no token."""
        positions = torch.arange(self.output.shape[1], device=self.lengths.device)
        return positions >= self.lengths.unsqueeze(1)


@dataclass(frozen=True)
class Decoded:
    """What a decoder made of target tokens.

    output     (batch, time, output_size) for the head; from `step`, (rows, output_size)
    attention  (batch, time, source), from `step` (rows, source): how much of each source token went into it, summing
               to 1 (of local attention to less); None of a decoder without attention
    """

    output: Tensor
    attention: Tensor | None = None


@dataclass(frozen=True)
class DecodingState:
    """What a decoder remembers between tokens of hypotheses, several a sentence.

    shared  a row a sentence, never changed by a step: the encoded source and what was computed of it once
    rows    a row a hypothesis, all hypotheses of a sentence behind one another: (sentences * width, ...)
    """

    shared: Mapping[str, Tensor]
    rows: Mapping[str, Tensor]

    def select(self, rows: Tensor, sentences: Tensor | None = None) -> DecodingState:
        """The hypotheses `rows` (n,) int64, in that order; `sentences`: the sentences that stay, None: all."""
        shared = self.shared
        if sentences is not None:
            shared = {name: part.index_select(0, sentences) for name, part in shared.items()}
        return DecodingState(shared, {name: part.index_select(0, rows) for name, part in self.rows.items()})

    def settled(self) -> DecodingState:
        """The same with all that `select` chose copied, so that `shared` and `rows` may be read."""
        return self


class Encoder(nn.Module, ABC):
    """Embedded source tokens to what a decoder reads. `output_size` is the size of `Encoded.output`."""

    output_size: int

    @abstractmethod
    def forward(self, embedded: Tensor, lengths: Tensor) -> Encoded:
        """Read sources (batch, source, input_size) of `lengths` (batch,) tokens."""


class Decoder(nn.Module, ABC):
    """Embedded target tokens, beside an encoded source, to what a head reads; `output_size` is the size of that.

    `forward` and a loop over `step` give the same numbers. The width of a beam, hypotheses a sentence, is
    found from the number of rows: sources are never repeated for them.
    """

    output_size: int

    @abstractmethod
    def forward(self, embedded: Tensor, encoded: Encoded, lengths: Tensor | None = None) -> Decoded:
        """Read whole targets (batch, time, input_size), as in teacher forcing; `lengths` (batch,): None: all full."""

    @abstractmethod
    def begin(self, encoded: Encoded) -> DecodingState:
        """The state before the first token, one hypothesis a sentence."""

    @abstractmethod
    def step(self, embedded: Tensor, state: DecodingState) -> tuple[Decoded, DecodingState]:
        """Read one token of each hypothesis, (sentences * width, input_size)."""
