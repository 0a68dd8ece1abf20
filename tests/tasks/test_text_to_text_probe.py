"""How far back the next token depends on the source, and on the target so far, in every architecture."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from storyline.layers import (
    LinearHead,
    RecurrentDecoder,
    RecurrentEncoder,
    TransformerDecoder,
    TransformerEncoder,
)
from storyline.layers.decoding import Decoded, Decoder, DecodingState, Encoded, Encoder
from storyline.memory import assert_remembers, diagnose, horizon, measure
from storyline.tasks.text_to_text_probe import PairNetwork, probe_pairs

SIZE, WORDS, START, END = 16, 12, 1, 2


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """These networks are too small to be shared by two, which would wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Network(nn.Module):
    def __init__(self, encoder: Encoder, decoder: Decoder) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.source, self.target = nn.Embedding(WORDS, SIZE), nn.Embedding(WORDS, SIZE)
        self.head = LinearHead(decoder.output_size, WORDS)

    def embed_source(self, ids: Tensor) -> Tensor:
        return self.source(ids)

    def embed_target(self, ids: Tensor) -> Tensor:
        return self.target(ids)


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
        recent = sum(
            nn.functional.pad(embedded, (0, 0, ago, 0))[:, : embedded.shape[1]] * (1 + ago)
            for ago in range(3)
        )
        return Decoded(recent + encoded.output.sum(1, keepdim=True))

    def begin(self, encoded: Encoded) -> DecodingState:
        raise NotImplementedError

    def step(self, embedded: Tensor, state: DecodingState) -> tuple[Decoded, DecodingState]:
        raise NotImplementedError


def pairs(count: int, longest: int = 12) -> tuple[list[Tensor], list[Tensor]]:
    """Copies: the target is the source, word by word."""
    generator = torch.Generator().manual_seed(0)
    sources = [
        torch.randint(
            3, WORDS, (int(torch.randint(2, longest + 1, (1,), generator=generator)),), generator=generator
        )
        for _ in range(count)
    ]
    return sources, [torch.cat([torch.tensor([START]), ids, torch.tensor([END])]) for ids in sources]


def test_known_memories_are_found() -> None:
    torch.manual_seed(0)
    network = Network(LastOfSource(), LastOfTarget()).eval()
    assert isinstance(network, PairNetwork)
    sources, targets = pairs(200)
    for side, steps in (("source", 3), ("target", 2)):
        probe = probe_pairs(network, network, sources, targets, side=side)  # type: ignore[arg-type]
        found = horizon(probe.model, probe.inputs, probe.targets, measures=("counterfactual", "gradient"))
        assert found.counterfactual is not None
        assert found.gradient is not None
        assert (found.counterfactual.steps, found.gradient.steps) == (steps, steps)
        assert not found.counterfactual.at_least
        assert found.max_lag > steps


def test_the_answer_is_the_networks() -> None:
    torch.manual_seed(0)
    encoder, decoder = (
        TransformerEncoder(SIZE, 8),
        RecurrentDecoder(SIZE, 8, 8, attention="dot", bridge="zero"),
    )
    network = Network(encoder, decoder).double().eval()
    sources, targets = pairs(40)
    answers: list[Tensor] = []
    for side in ("source", "target"):
        probe = probe_pairs(network, network, sources, targets, side=side, sample=20, unit="word")  # type: ignore[arg-type]
        lengths = torch.tensor([len(row) for row in probe.inputs])
        answers.append(probe.model(nn.utils.rnn.pad_sequence(list(probe.inputs), batch_first=True), lengths))
        assert (probe.total, probe.unit, len(probe.inputs)) == (40, "word", 20)
        for row in range(20):
            # which pair it was: no two sources are alike, and the target so far is a copy
            ids = probe.symbols[row].tolist()  # type: ignore[index]
            word = int(probe.targets[row])
            for source, target in zip(sources, targets, strict=True):
                tries = [n for n in range(1, len(target)) if int(target[n]) == word]
                shown = [target[:n] for n in tries if side == "source" or target[:n].tolist() == ids]
                if side == "source" and source.tolist() != ids:
                    continue
                wanted = [alone(network, source, each) for each in shown]
                if any(torch.allclose(answers[-1][row], each, rtol=0, atol=1e-12) for each in wanted):
                    break
            else:
                raise AssertionError(f"row {row} of the {side} is no pair's answer")


def alone(network: Network, source: Tensor, shown: Tensor) -> Tensor:
    encoded = network.encoder(network.embed_source(source[None]), torch.tensor([len(source)]))
    decoded = network.decoder(network.embed_target(shown[None]), encoded)
    return network.head.log_probabilities(decoded.output[0, -1])


def trained(encoder: Encoder, decoder: Decoder, steps: int) -> Network:
    """Taught to copy sources of up to 8 words."""
    torch.manual_seed(0)
    network = Network(encoder, decoder)
    adam = torch.optim.Adam(network.parameters(), 5e-3)
    for step in range(steps):
        generator = torch.Generator().manual_seed(step)
        x = torch.randint(3, WORDS, (48, 2 + step % 7), generator=generator)
        first, last = torch.full((48, 1), START), torch.full((48, 1), END)
        encoded = network.encoder(network.embed_source(x), torch.full((48,), x.shape[1]))
        decoded = network.decoder(network.embed_target(torch.cat([first, x], 1)), encoded)
        adam.zero_grad()
        network.head.loss(decoded.output, torch.cat([x, last], 1)).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        adam.step()
    return network.eval()


def recurrent(attention: str | None) -> tuple[Encoder, Decoder]:
    torch.manual_seed(1)
    return RecurrentEncoder(SIZE, 24), RecurrentDecoder(SIZE, 48, 48, attention=attention)


def transformer() -> tuple[Encoder, Decoder]:
    torch.manual_seed(1)
    return TransformerEncoder(SIZE, 32, num_layers=1), TransformerDecoder(SIZE, 32, 32, num_layers=1)


@pytest.mark.parametrize("parts", [lambda: recurrent("additive"), lambda: recurrent(None), transformer])
def test_every_architecture_is_measured(parts: Any) -> None:
    """A copy needs the whole source."""
    network, before = trained(*parts(), 100), Network(*parts()).eval()
    sources, targets = pairs(150, longest=8)
    probe = probe_pairs(network, before, sources, targets, names=[str(n) for n in range(WORDS)])
    report = measure(probe)
    assert report.horizon.reasons == {}
    assert report.before is not None
    assert report.horizon.use is not None
    assert report.horizon.use.steps >= 6
    assert "time scales (no recurrent layer of the model reads these steps)" in report.table()
    assert_remembers(probe.model, probe.inputs, 5)
    assert diagnose(probe.model, probe.inputs, probe.targets, need=6).uses is not None
    other = probe_pairs(network, before, sources, targets, side="target")
    found = horizon(other.model, other.inputs, other.targets)
    assert found.reasons == {}
    assert found.counterfactual is not None
    assert found.counterfactual.steps >= 1


@pytest.mark.parametrize(
    ("sources", "targets", "more", "message"),
    [
        ([torch.tensor([3])] * 2, [torch.tensor([1, 2])], {}, "2 sources came with 1 targets"),
        (
            [torch.tensor([3])] * 2,
            [torch.tensor([1, 2]), torch.tensor([1])],
            {},
            r"targets\[1\] has 1 tokens",
        ),
        ([torch.zeros(0).long()], [torch.tensor([1, 2])], {}, r"sources\[0\] has 0 tokens"),
        ([torch.tensor([3])], [torch.tensor([1, 2])], {"side": "both"}, "side is 'both'"),
    ],
)
def test_what_cannot_be_asked_is_refused(sources: Any, targets: Any, more: Any, message: str) -> None:
    network = Network(LastOfSource(), LastOfTarget())
    with pytest.raises(ValueError, match=message):
        probe_pairs(network, network, sources, targets, **more)
