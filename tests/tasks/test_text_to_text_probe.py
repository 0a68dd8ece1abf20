"""How far back the next token depends on the source, and on the target so far, in every architecture."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from storyline.data import TokenPairs
from storyline.layers import (
    CopyingHead,
    LinearHead,
    RecurrentDecoder,
    RecurrentEncoder,
    TokenEmbedding,
    TransformerDecoder,
    TransformerEncoder,
)
from storyline.layers.decoding import Decoded, Decoder, DecodingState, Encoded, Encoder
from storyline.memory import assert_remembers, diagnose, horizon, measure
from storyline.tasks.text_to_text_network import SourceToTarget
from storyline.tasks.text_to_text_probe import Side, probe_text_to_text

SIZE, WORDS, END = 16, 12, 1
SIDES: tuple[Side, ...] = ("source", "target")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """These networks are too small to be shared by two, which would wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class LastOfSource(Encoder):
    """Remembers the last 4 tokens, and that is all."""

    output_size = SIZE

    def forward(self, embedded: Tensor, lengths: Tensor) -> Encoded:
        ago = lengths[:, None] - 1 - torch.arange(embedded.shape[1])
        kept = embedded * ((ago >= 0) & (ago < 4))[..., None] * (1 + ago[..., None])
        return Encoded(kept, lengths)


class LastOfTarget(Decoder):
    """Reads the sum of the source and the last 3 tokens of the target."""

    output_size = SIZE

    def forward(self, embedded: Tensor, encoded: Encoded, lengths: Tensor | None = None) -> Decoded:
        time = embedded.shape[1]
        recent = sum(nn.functional.pad(embedded, (0, 0, ago, 0))[:, :time] * (1 + ago) for ago in range(3))
        return Decoded(recent + encoded.output.sum(1, keepdim=True))

    def begin(self, encoded: Encoded) -> DecodingState:
        raise NotImplementedError

    def step(self, embedded: Tensor, state: DecodingState) -> tuple[Decoded, DecodingState]:
        raise NotImplementedError


def network_of(parts: tuple[Encoder, Decoder], *, copying: bool = False) -> SourceToTarget:
    encoder, decoder = parts
    source, target = (TokenEmbedding(WORDS, SIZE, unknown_id=2) for _ in range(2))
    head: Any = LinearHead(decoder.output_size, WORDS)
    head = CopyingHead(head, WORDS, decoder.output_size, SIZE) if copying else head
    return SourceToTarget(source, target, encoder, decoder, head, scale=SIZE**0.5)


def copies(count: int, longest: int) -> TokenPairs:
    """The target is the source, word by word; no two pairs are alike."""
    rng = np.random.default_rng(0)
    drawn = {tuple(rng.integers(3, WORDS, rng.integers(2, longest + 1)).tolist()) for _ in range(2 * count)}
    texts = [np.array(text) for text in sorted(drawn)[:count]]
    return TokenPairs(texts, texts, END, END, np.arange(len(texts)))


def test_known_memories_are_found() -> None:
    torch.manual_seed(0)
    network = network_of((LastOfSource(), LastOfTarget())).eval()
    for side, steps in zip(SIDES, (3, 2), strict=True):
        probe = probe_text_to_text(network, network, copies(200, 12), side=side)
        found = horizon(probe.model, probe.inputs, probe.targets, measures=("counterfactual", "gradient"))
        assert found.counterfactual is not None
        assert found.gradient is not None
        assert (found.counterfactual.steps, found.gradient.steps) == (steps, steps)
        assert found.max_lag > steps


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("copying", [False, True])
def test_the_answer_is_the_networks(side: Side, copying: bool) -> None:
    """Whatever is drawn, it is what the network says behind a target so far, beside its own source."""
    torch.manual_seed(0)
    parts = TransformerEncoder(SIZE, 8), RecurrentDecoder(SIZE, 8, 8, attention="dot", bridge="zero")
    network = network_of(parts, copying=copying).double().eval()
    pairs = copies(40, 8)
    probe = probe_text_to_text(network, network, pairs, side=side, sample=20, unit="word")
    lengths = torch.tensor([len(row) for row in probe.inputs])
    answers = probe.model(nn.utils.rnn.pad_sequence(list(probe.inputs), batch_first=True), lengths)
    assert (probe.total, probe.unit, len(probe.inputs)) == (40, "word", 20)
    whole = pairs.batch(np.arange(40))
    decoded = network(whole.source, whole.source_lengths, whole.target_in, whole.target_lengths)
    wanted = network.log_probabilities(decoded, network.target(whole.target_in), whole.source)
    found = []
    for row, (symbols, target) in enumerate(zip(probe.symbols or (), probe.targets, strict=True)):
        same = [
            (pair, place)
            for pair in range(40)
            for place in range(int(whole.target_lengths[pair]))
            if int(whole.target_out[pair, place]) == int(target)
            and torch.allclose(wanted[pair, place], answers[row], rtol=0, atol=1e-11)
        ]
        assert len(same) == 1
        (pair, place) = same[0]
        found.append(pair)
        given = pairs.sources[pair] if side == "source" else whole.target_in[pair, : place + 1].numpy()
        np.testing.assert_array_equal(symbols.numpy(), given)
    assert found == sorted(set(found))


def trained(parts: tuple[Encoder, Decoder], steps: int = 100) -> SourceToTarget:
    """Taught to copy sources of up to 8 words."""
    torch.manual_seed(0)
    network = network_of(parts)
    adam = torch.optim.Adam(network.parameters(), 5e-3)
    for step in range(steps):
        rng = np.random.default_rng(step)
        texts = list(rng.integers(3, WORDS, (48, 2 + step % 7)))
        batch = TokenPairs(texts, texts, END, END, np.arange(48)).batch(np.arange(48))
        adam.zero_grad()
        network.loss(batch, batch.target_in).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        adam.step()
    return network.eval()


def recurrent(attention: str | None) -> tuple[Encoder, Decoder]:
    torch.manual_seed(1)
    return RecurrentEncoder(SIZE, 24), RecurrentDecoder(SIZE, 48, 48, attention=attention)


def transformer() -> tuple[Encoder, Decoder]:
    torch.manual_seed(1)
    return TransformerEncoder(SIZE, 32, num_layers=1), TransformerDecoder(SIZE, 32, 32, num_layers=1)


@pytest.mark.parametrize(
    "parts",
    [lambda: recurrent("additive"), lambda: recurrent(None), transformer],
    ids=["additive", "none", "transformer"],
)
def test_every_architecture_is_measured(parts: Any) -> None:
    """A copy needs the whole source."""
    network, before, pairs = trained(parts()), network_of(parts()).eval(), copies(150, 8)
    probe = probe_text_to_text(network, before, pairs, names=[str(n) for n in range(WORDS)])
    report = measure(probe)
    assert report.horizon.reasons == {}
    assert report.before is not None
    assert report.horizon.use is not None
    assert report.horizon.use.steps >= 6
    assert "time scales (no recurrent layer of the model reads these steps)" in report.table()
    assert_remembers(probe.model, probe.inputs, 5)
    assert diagnose(probe.model, probe.inputs, probe.targets, need=6).uses is not None
    other = probe_text_to_text(network, before, pairs, side="target")
    found = horizon(other.model, other.inputs, other.targets)
    assert found.reasons == {}
    assert found.counterfactual is not None
    assert found.counterfactual.steps >= 1


def test_what_cannot_be_asked_is_refused() -> None:
    network = network_of((LastOfSource(), LastOfTarget()))
    with pytest.raises(ValueError, match="side is 'both'; it must be 'source' or 'target'"):
        probe_text_to_text(network, network, copies(9, 4), side="both")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="X is empty"):
        probe_text_to_text(network, network, copies(9, 4).take(np.array([], dtype=int)))
