"""A trained encoder-decoder as functions of tensors, for the instruments of memory: source, and target so far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, cast, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from storyline.layers import Head, MemoryProbe
from storyline.layers.decoding import Decoder, Encoded, Encoder
from storyline.tasks.probe import draw

Side = Literal["source", "target"]
# Which pair a step belongs to stands in a channel of its own, in units so small that no measure takes it for content,
# and a power of two, so that it is read back exactly.
_PAIR = 2.0**-20


@runtime_checkable
class PairNetwork(Protocol):
    """What is asked of a network that turns sources into targets; it is a module."""

    encoder: Encoder
    decoder: Decoder
    head: Head

    def embed_source(self, ids: Tensor) -> Tensor:
        """(batch, source) int64 -> what the encoder reads, (batch, source, size)."""

    def embed_target(self, ids: Tensor) -> Tensor:
        """(batch, time) int64 -> what the decoder reads, (batch, time, size)."""


class BesideOther(nn.Module):
    """The next token's log probabilities as a function of one side of a pair; the other side stays as it was.

    inputs (batch, time, size + 1): embedded tokens of the measured side, and which pair they belong to; with
    `lengths` (batch,) where they are ragged -> (batch, vocabulary). The other side is that of the pair which the last
    step names, so that it stays when the past is exchanged for another sequence's.
    """

    def __init__(self, network: PairNetwork, side: Side, others: Sequence[Tensor]) -> None:
        """others: the token ids (time,) of the other side of each pair, a target up to the token that is asked for."""
        super().__init__()
        self.network, self.side = cast(nn.Module, network), side
        self.lengths = torch.tensor([len(ids) for ids in others])
        ids = pad_sequence(list(others), batch_first=True)
        with torch.no_grad():
            if side == "source":
                self.targets = network.embed_target(ids)
            else:
                self.encoded = network.encoder(network.embed_source(ids), self.lengths)

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The answers, (batch, vocabulary)."""
        network = cast(PairNetwork, self.network)
        batch, time, _ = inputs.shape
        lengths = torch.full((batch,), time) if lengths is None else lengths
        rows = torch.arange(batch)
        pairs = (inputs.detach()[rows, lengths - 1, -1] / _PAIR).round().long()
        tokens = inputs[..., :-1]
        if self.side == "source":
            asked = self.lengths[pairs]
            targets = self.targets[pairs, : int(asked.max())]
            decoded = network.decoder(targets, network.encoder(tokens, lengths), asked)
        else:
            asked, given = lengths, self.encoded
            states = {name: state[:, pairs] for name, state in given.states.items()}
            encoded = Encoded(given.output[pairs], given.lengths[pairs], states)
            decoded = network.decoder(tokens, encoded, asked)
        return network.head.log_probabilities(decoded.output[rows, asked - 1])


def probe_pairs(
    network: PairNetwork,
    initial: PairNetwork,
    sources: Sequence[Tensor],
    targets: Sequence[Tensor],
    *,
    side: Side = "source",
    names: Sequence[str] | None = None,
    unit: str = "token",
    sample: int = 128,
    seed: int = 0,
) -> MemoryProbe:
    """The probe of one side of at most `sample` pairs drawn at random.

    What is asked for is one token of each target, drawn at random, behind the true target so far and beside the true
    source. On the side "source" a lag counts tokens from the end of the source, the target so far staying as it is; on
    the side "target" tokens back from the one that is asked for, the source staying as it is.

    network, initial  on the CPU, in evaluation mode; as trained, and before training
    sources           (tokens,) int64 each, as the encoder reads them
    targets           (tokens,) int64 each, beginning with the token that decoding begins with, ending with the last one
    names             of the tokens of `side`, by id; None: nobody has named them
    unit              what a token is called, in the singular

    Raises ValueError for another side, and where a source is empty or a target has nothing to ask for.
    """
    if side not in ("source", "target"):
        raise ValueError(f"side is {side!r}; it must be 'source' or 'target'")
    _check(sources, targets)
    generator = np.random.default_rng(seed)
    asked = [int(generator.integers(1, len(target))) for target in targets]
    shown = [target[:place] for target, place in zip(targets, asked, strict=True)]
    measured, others = (sources, shown) if side == "source" else (shown, sources)
    places = draw(np.array([len(ids) for ids in measured]), sample, seed).tolist()
    symbols, others = [measured[place] for place in places], [others[place] for place in places]
    embed = network.embed_source if side == "source" else network.embed_target
    with torch.no_grad():
        padded = embed(pad_sequence(symbols, batch_first=True))
    return MemoryProbe(
        model=BesideOther(network, side, others).eval(),
        inputs=[
            torch.cat([row[: len(ids)], row.new_full((len(ids), 1), pair * _PAIR)], 1)
            for pair, (row, ids) in enumerate(zip(padded, symbols, strict=True))
        ],
        targets=torch.stack([targets[place][asked[place]] for place in places]),
        initial=BesideOther(initial, side, others).eval(),
        symbols=symbols,
        words=None if names is None else [[names[id_] for id_ in ids.tolist()] for ids in symbols],
        unit=unit,
        total=len(sources),
    )


def _check(sources: Sequence[Tensor], targets: Sequence[Tensor]) -> None:
    if len(sources) != len(targets):
        raise ValueError(f"{len(sources)} sources came with {len(targets)} targets; give one each")
    for name, rows, least, wanted in (
        ("sources", sources, 1, "a token"),
        ("targets", targets, 2, "a first token and one to ask for"),
    ):
        short = next((row for row, ids in enumerate(rows) if len(ids) < least), None)
        if short is not None:
            raise ValueError(f"{name}[{short}] has {len(rows[short])} tokens; it needs {wanted}")
