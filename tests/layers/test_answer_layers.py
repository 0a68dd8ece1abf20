"""The layers that answer questions, against NumPy transcriptions, one row at a time without padding."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from storyline.layers import (
    GRU,
    AlignedQuestion,
    EpisodicMemory,
    SentenceEncoder,
    SpanHead,
    WeightedPooling,
    best_spans,
    span_loss,
)

LENGTHS = torch.tensor([4, 1, 6])
TIME, SIZE = 6, 5


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def padded(output: Tensor) -> Tensor:
    """NaN in the padding: what stands there must have no effect."""
    inside = torch.arange(output.shape[1]) < LENGTHS.unsqueeze(1)
    return output.masked_fill(~inside.unsqueeze(-1), torch.nan)


def softmax(scores: np.ndarray) -> np.ndarray:
    exponents = np.exp(scores - scores.max())
    return exponents / exponents.sum()


def weights_of(linear: torch.nn.Module) -> tuple[np.ndarray, ...]:
    return tuple(value.detach().numpy() for value in linear.parameters())


@pytest.mark.parametrize("hops", [1, 3])
def test_episodic_memory(hops: int) -> None:
    torch.manual_seed(0)
    memory = EpisodicMemory(SIZE, hops).double()
    facts, question = numbers(3, TIME, SIZE), numbers(3, SIZE, seed=1)
    found, looked = memory(padded(facts), LENGTHS, question)
    assert looked.shape == (3, hops, TIME)
    for row, length in enumerate(LENGTHS.tolist()):
        f, q = facts[row, :length].numpy(), question[row].numpy()
        m = q
        for hop in range(hops):
            W, b = weights_of(memory.inner[hop])
            (w,) = weights_of(memory.outer[hop])
            W_m, b_m = weights_of(memory.update[hop])
            z = [np.concatenate([x * q, np.abs(x - q), x * m, np.abs(x - m)]) for x in f]
            a = softmax(np.array([w[0] @ np.tanh(W @ v + b) + x @ m for v, x in zip(z, f, strict=True)]))
            np.testing.assert_allclose(looked[row, hop, :length].detach(), a, atol=1e-12)
            assert not looked[row, hop, length:].any()
            e = a @ f
            m = m + e + W_m @ np.concatenate([m, e, q, e * q, e * m]) + b_m
        np.testing.assert_allclose(found[row].detach(), m, atol=1e-12)


def test_sentence_encoder_weighs_places_and_reads_in_order() -> None:
    torch.manual_seed(0)
    layer = GRU(SIZE, SIZE, batch_first=True).double()
    encoder = SentenceEncoder(layer, places=3).double()
    with torch.no_grad():
        encoder.weight.copy_(numbers(3, SIZE, seed=2))
    words = numbers(3, TIME, SIZE)
    found = encoder(padded(words), LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        _, h_n = layer(words[row : row + 1, :length])
        # Words behind the last place share its weight.
        weights = [encoder.weight[min(place, 2)] for place in range(length)]
        bag = sum(word * weight for word, weight in zip(words[row, :length], weights, strict=True))
        torch.testing.assert_close(found[row], bag + h_n[0, 0])


@pytest.mark.parametrize(
    "layer",
    [GRU(4, 5, batch_first=True), GRU(4, 4), GRU(4, 2, batch_first=True, bidirectional=True)],
)
def test_sentence_encoder_refuses_layers_that_do_not_fit(layer: GRU) -> None:
    with pytest.raises(ValueError, match="must be batch first, of one direction"):
        SentenceEncoder(layer)


def test_aligned_question() -> None:
    torch.manual_seed(0)
    align = AlignedQuestion(SIZE).double()
    text, question = numbers(3, 4, SIZE), numbers(3, TIME, SIZE, seed=1)
    found = align(text, padded(question), LENGTHS)
    W, b = weights_of(align.linear)
    for row, length in enumerate(LENGTHS.tolist()):
        q = question[row, :length].numpy()
        asked = np.maximum(q @ W.T + b, 0)
        for place in range(4):
            read = np.maximum(W @ text[row, place].numpy() + b, 0)
            np.testing.assert_allclose(found[row, place].detach(), softmax(asked @ read) @ q, atol=1e-12)


def test_weighted_pooling() -> None:
    torch.manual_seed(0)
    pooling = WeightedPooling(SIZE).double()
    output = numbers(3, TIME, SIZE)
    found = pooling(padded(output), LENGTHS)
    (w,) = weights_of(pooling.linear)
    for row, length in enumerate(LENGTHS.tolist()):
        states = output[row, :length].numpy()
        np.testing.assert_allclose(found[row].detach(), softmax(states @ w[0]) @ states, atol=1e-12)


def test_span_head_and_its_loss() -> None:
    torch.manual_seed(0)
    head = SpanHead(SIZE, 3).double()
    states, question = numbers(3, TIME, SIZE), numbers(3, 3, seed=1)
    start, end = head(states, question, LENGTHS)
    spans = torch.tensor([[[0, 1], [2, 3]], [[0, 0], [-1, -1]], [[5, 5], [-1, -1]]])
    wanted = []
    for row, length in enumerate(LENGTHS.tolist()):
        found = []
        for linear, log_probabilities in ((head.start, start), (head.end, end)):
            W, b = weights_of(linear)
            p = softmax(states[row, :length].numpy() @ (W @ question[row].numpy() + b))
            np.testing.assert_allclose(log_probabilities[row, :length].exp().detach(), p, atol=1e-12)
            assert log_probabilities[row, length:].eq(-torch.inf).all()
            found.append(p)
        right = [(s, e) for s, e in spans[row].tolist() if s >= 0]
        wanted.append(-np.log(sum(found[0][s] * found[1][e] for s, e in right)))
    loss = span_loss(start, end, spans)
    np.testing.assert_allclose(loss.item(), np.mean(wanted), rtol=1e-12)
    loss.backward()
    assert all(
        parameter.grad is not None and parameter.grad.isfinite().all() for parameter in head.parameters()
    )


@pytest.mark.parametrize("longest", [1, 3, 50])
def test_best_span_is_that_of_exhaustive_search(longest: int) -> None:
    start, end = (
        numbers(20, TIME, seed=seed).masked_fill(torch.arange(TIME) >= 5, -torch.inf).log_softmax(-1)
        for seed in (0, 1)
    )
    first, last, score = best_spans(start, end, longest)
    for row in range(20):
        allowed = [(i, j) for i, j in itertools.product(range(5), repeat=2) if i <= j < i + longest]
        best = max(allowed, key=lambda span: float(start[row, span[0]] + end[row, span[1]]))
        assert (int(first[row]), int(last[row])) == best
        assert float(score[row]) == float(start[row, best[0]] + end[row, best[1]])


def test_spans_need_a_token() -> None:
    with pytest.raises(ValueError, match="longest is 0"):
        best_spans(torch.zeros(1, 2), torch.zeros(1, 2), 0)
    with pytest.raises(ValueError, match="hops is 0"):
        EpisodicMemory(4, 0)
