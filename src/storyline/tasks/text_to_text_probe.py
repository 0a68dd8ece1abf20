"""A trained encoder-decoder as functions of tensors, for the instruments of memory: source, and target so far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from storyline.data import TokenPairs
from storyline.layers import MemoryProbe
from storyline.layers.decoding import Decoded, Encoded
from storyline.tasks.probe import draw
from storyline.tasks.text_to_text_network import SourceToTarget

Side = Literal["source", "target"]
# Which token a step is, and of which pair, stands in two channels of its own, in units so small that no measure takes
# them for content, and a power of two, so that they are read back exactly.
_UNIT = 2.0**-20


class BesideOther(nn.Module):
    """The next token's log probabilities as a function of one side of a pair; the other side stays as it was.

    inputs (batch, time, size + 2): tokens of the measured side as encoder or decoder reads them, then which they are,
    for a model that copies, and of which pair; with `lengths` (batch,) where they are ragged -> (batch, vocabulary).
    The other side is that of the pair which the last step names: it stays when the past is exchanged for another
    sequence's.
    """

    def __init__(self, network: SourceToTarget, side: Side, others: Sequence[Tensor]) -> None:
        """others: ids (time,) of the other side of each pair; of a target what is read before the token asked for."""
        super().__init__()
        self.network, self.side = network, side
        self.lengths = torch.tensor([len(ids) for ids in others])
        self.others = pad_sequence(list(others), batch_first=True)
        if side == "target":
            with torch.no_grad():
                self.encoded = network.encode(self.others, self.lengths)

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The answers, (batch, vocabulary)."""
        network, (batch, time, _) = self.network, inputs.shape
        lengths = torch.full((batch,), time) if lengths is None else lengths
        rows = torch.arange(batch)
        named = (inputs.detach()[..., -2:] / _UNIT).round().long()
        ids, pairs = named[..., 0], named[rows, lengths - 1, 1]
        others = self.others[pairs]
        if self.side == "source":
            source, read, asked = ids, others, self.lengths[pairs]
            encoded = network.encoder(inputs[..., :-2], lengths)
            embedded = network.scale * network.target(read)
        else:
            source, read, asked = others, ids, lengths
            states = {name: state[:, pairs] for name, state in self.encoded.states.items()}
            encoded = Encoded(self.encoded.output[pairs], self.encoded.lengths[pairs], states)
            embedded = inputs[..., :-2]
        decoded: Decoded = network.decoder(embedded, encoded, asked)
        last = asked - 1
        weights = None if decoded.attention is None else decoded.attention[rows, last].unsqueeze(1)
        one = Decoded(decoded.output[rows, last].unsqueeze(1), weights)
        token = network.target(read[rows, last].unsqueeze(1))
        return network.log_probabilities(one, token, source).squeeze(1)


def probe_text_to_text(
    network: SourceToTarget,
    initial: SourceToTarget,
    pairs: TokenPairs,
    *,
    side: Side = "source",
    names: Sequence[str] | None = None,
    unit: str = "token",
    sample: int = 128,
    seed: int = 0,
) -> MemoryProbe:
    """The probe of one side of at most `sample` pairs drawn at random.

    What is asked for is one token of each target, `<end>` among them, drawn at random, behind the true target so far
    and beside the true source. On the side "source" a lag counts tokens from the end of the source, and the target so
    far stays as it is; on the side "target" it counts back from the token that is asked for, and the source stays.

    network, initial  on the CPU, in evaluation mode; as trained, and before training
    names             of the tokens of `side`, by id; None: nobody has named them
    unit              what a token is called, in the singular

    Raises ValueError for another side, and where there is no pair.
    """
    if side not in ("source", "target"):
        raise ValueError(f"side is {side!r}; it must be 'source' or 'target'")
    # Of every target the place of the token that is asked for: so many are read before it, the first one included.
    asked = np.random.default_rng(seed).integers(1, pairs.target_lengths + 1)
    places = draw(pairs.source_lengths if side == "source" else asked, sample, seed)
    asked = asked[places]
    batch = pairs.take(places).batch(np.arange(len(places)))
    sources = [ids[:length] for ids, length in zip(batch.source, batch.source_lengths.tolist(), strict=True)]
    read = [ids[:length] for ids, length in zip(batch.target_in, asked.tolist(), strict=True)]
    symbols, others = (sources, read) if side == "source" else (read, sources)
    with torch.no_grad():
        embedding = network.source if side == "source" else network.target
        embedded = [network.scale * embedding(ids) for ids in symbols]
    named = [
        torch.stack([ids, torch.full_like(ids, pair)], 1).to(row.dtype) * _UNIT
        for pair, (ids, row) in enumerate(zip(symbols, embedded, strict=True))
    ]
    return MemoryProbe(
        model=BesideOther(network, side, others).eval(),
        inputs=[torch.cat(parts, 1) for parts in zip(embedded, named, strict=True)],
        targets=batch.target_out[torch.arange(len(places)), torch.from_numpy(asked) - 1],
        initial=BesideOther(initial, side, others).eval(),
        symbols=symbols,
        words=None if names is None else [[names[id_] for id_ in ids.tolist()] for ids in symbols],
        unit=unit,
        total=len(pairs),
    )
