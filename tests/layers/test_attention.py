"""Attention against a transcription of the papers in NumPy, one sentence and one query at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from storyline.layers.additive_scores import additive_scores, plain_scores
from storyline.layers.attention import Attention, LocalAttention, MultiHeadAttention
from storyline.layers.attentions import ATTENTIONS, new_attention
from storyline.layers.decoding import Encoded

Array = NDArray[np.float64]
Parameters = dict[str, Array]
BATCH, QUERIES, SOURCE, QUERY_SIZE, SOURCE_SIZE = 3, 2, 5, 4, 6
LENGTHS = torch.tensor([3, 5, 1])
# What coverage attention is told: what was given to each token before.
COVERED = torch.rand(BATCH, QUERIES, SOURCE, generator=torch.Generator().manual_seed(7), dtype=torch.float64)

names = pytest.mark.parametrize("name", list(ATTENTIONS))


def build(name: str) -> Attention:
    torch.manual_seed(3)
    if name == "local":  # a window that cuts
        return LocalAttention(QUERY_SIZE, SOURCE_SIZE, window=1).double()
    if name == "multihead":
        return MultiHeadAttention(QUERY_SIZE, SOURCE_SIZE, num_heads=2).double()
    return new_attention(name, SOURCE_SIZE if name == "dot" else QUERY_SIZE, SOURCE_SIZE).double()


def draw(attention: Attention, seed: int = 5) -> tuple[Tensor, Tensor]:
    """A query, and an encoded source with NaN in its padding."""
    generator = torch.Generator().manual_seed(seed)
    query = torch.randn(BATCH, QUERIES, attention.query_size, generator=generator, dtype=torch.float64)
    output = torch.randn(BATCH, SOURCE, SOURCE_SIZE, generator=generator, dtype=torch.float64)
    output[torch.arange(SOURCE) >= LENGTHS.unsqueeze(1)] = torch.nan
    return query, output


def softmax(scores: Array) -> Array:
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()


def scores_of(name: str, w: Parameters, s: Array, H: Array, c: Array) -> Array:
    """The score of a query s and each token of a sentence, H (source, size), which c was given before."""
    if name == "coverage":
        asked = w["of_query.weight"] @ s + w["of_query.bias"]
        sums = [
            asked + w["of_source.weight"] @ h + w["of_coverage"] * given
            for h, given in zip(H, c, strict=True)
        ]
        return np.array([w["score"] @ np.tanh(each) for each in sums])
    if name == "additive":
        return np.array(
            [w["score"] @ np.tanh(w["of_query.weight"] @ s + w["of_source.weight"] @ h) for h in H]
        )
    if name == "dot":
        return H @ s
    return np.array([s @ w["of_source.weight"] @ h for h in H])


def local(w: Parameters, s: Array, H: Array, window: int = 1) -> Array:
    p = len(H) / (1 + np.exp(-w["position.weight"][0] @ np.tanh(w["of_query.weight"] @ s)))
    inside = [place for place in range(len(H)) if p - window <= place <= p + window]
    weights = np.zeros(len(H))
    weights[inside] = softmax(scores_of("general", w, s, H, H[:, 0])[inside])
    return weights * np.exp(-((np.arange(len(H)) - p) ** 2) / (2 * (window / 2) ** 2))


def heads(w: Parameters, s: Array, H: Array) -> tuple[Array, Array]:
    asked = w["of_query.weight"] @ s + w["of_query.bias"]
    both = H @ w["of_source.weight"].T + w["of_source.bias"]
    keys, values = both[:, :QUERY_SIZE], both[:, QUERY_SIZE:]
    parts, weights = [], []
    for head in (slice(0, 2), slice(2, 4)):
        weights.append(softmax(keys[:, head] @ asked[head] / np.sqrt(2)))
        parts.append(weights[-1] @ values[:, head])
    return w["out.weight"] @ np.concatenate(parts) + w["out.bias"], np.mean(weights, axis=0)


def transcribed(name: str, w: Parameters, query: Array, output: Array) -> tuple[Array, Array]:
    context = np.zeros((*query.shape[:2], SOURCE_SIZE))
    weights = np.zeros((*query.shape[:2], SOURCE))
    for b, length in enumerate(LENGTHS.tolist()):
        H = output[b, :length]
        for q, s in enumerate(query[b]):
            if name == "multihead":
                context[b, q], weights[b, q, :length] = heads(w, s, H)
                continue
            row = (
                local(w, s, H)
                if name == "local"
                else softmax(scores_of(name, w, s, H, COVERED.numpy()[b, q, :length]))
            )
            context[b, q], weights[b, q, :length] = row @ H, row
    return context, weights


def parameters_of(attention: Attention) -> Parameters:
    return {name: value.detach().numpy().copy() for name, value in attention.named_parameters()}


def look(attention: Attention, query: Tensor, output: Tensor, **more: Any) -> tuple[Tensor, Tensor | None]:
    source = {**attention.prepare(Encoded(output, LENGTHS)), "coverage": COVERED}
    result: tuple[Tensor, Tensor | None] = attention(query, source, **more)
    return result


def slope(function: Callable[[], float], values: Array) -> Array:
    """Central differences by each entry of an array that the function reads; 0 where it is NaN."""
    found = np.zeros_like(values)
    for place in np.ndindex(values.shape):
        kept = values[place]
        if not np.isnan(kept):
            values[place] = kept + 1e-5
            above = function()
            values[place] = kept - 1e-5
            found[place] = (above - function()) / 2e-5
            values[place] = kept
    return found


@names
def test_values_are_the_papers(name: str) -> None:
    attention = build(name)
    query, output = draw(attention)
    context, weights = look(attention, query, output)
    assert weights is not None
    wanted = transcribed(name, parameters_of(attention), query.numpy(), output.numpy())
    np.testing.assert_allclose(context.detach(), wanted[0], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(weights.detach(), wanted[1], rtol=1e-12, atol=1e-12)
    padding = torch.arange(SOURCE) >= LENGTHS.unsqueeze(1)
    assert (weights.transpose(1, 2)[padding] == 0).all()
    if name != "local":
        torch.testing.assert_close(weights.sum(-1), torch.ones(BATCH, QUERIES, dtype=torch.float64))


@names
def test_gradients_are_those_of_the_transcription(name: str) -> None:
    attention = build(name)
    query, output = draw(attention)
    generator = torch.Generator().manual_seed(9)
    by_context = torch.randn(BATCH, QUERIES, SOURCE_SIZE, generator=generator, dtype=torch.float64)
    by_weights = torch.randn(BATCH, QUERIES, SOURCE, generator=generator, dtype=torch.float64)
    context, weights = look(attention, query.requires_grad_(), output.requires_grad_())
    assert weights is not None
    ((context * by_context).sum() + (weights * by_weights).sum()).backward()

    w, asked, read = parameters_of(attention), query.detach().numpy().copy(), output.detach().numpy().copy()

    def loss() -> float:
        context, weights = transcribed(name, w, asked, read)
        return float((context * by_context.numpy()).sum() + (weights * by_weights.numpy()).sum())

    found = {"query": query.grad, "output": output.grad}
    found |= {key: value.grad for key, value in attention.named_parameters()}
    for key, values in {"query": asked, "output": read, **w}.items():
        gradient = found[key]
        assert gradient is not None
        np.testing.assert_allclose(gradient, slope(loss, values), rtol=1e-6, atol=1e-8, err_msg=key)


@names
def test_a_row_gives_what_it_gives_alone(name: str) -> None:
    attention = build(name)
    query, output = draw(attention)
    context, weights = look(attention, query, output)
    assert weights is not None
    for row, length in enumerate(LENGTHS.tolist()):
        source = attention.prepare(Encoded(output[row : row + 1, :length], LENGTHS[row : row + 1]))
        alone = attention(query[row : row + 1], {**source, "coverage": COVERED[row : row + 1, :, :length]})
        torch.testing.assert_close(alone[0][0], context[row], rtol=0, atol=1e-14)
        torch.testing.assert_close(alone[1][0], weights[row, :, :length], rtol=0, atol=1e-14)


def test_heads_give_the_same_context_without_weights() -> None:
    attention = build("multihead")
    query, output = draw(attention)
    wanted, _ = look(attention, query, output)
    context, weights = look(attention, query, output, need_weights=False)
    assert weights is None
    torch.testing.assert_close(context, wanted, rtol=0, atol=1e-14)


def test_coverage_starts_from_nothing() -> None:
    attention = build("coverage")
    query, output = draw(attention)
    source = attention.prepare(Encoded(output, LENGTHS))
    wanted = attention(query, {**source, "coverage": torch.zeros_like(COVERED)})
    torch.testing.assert_close(attention(query, source), wanted)


def test_additive_scores_by_parts_are_the_plain_ones() -> None:
    """Against float64, with gradients, and with second derivatives."""
    generator = torch.Generator().manual_seed(1)
    exact = [torch.randn(*shape, generator=generator).double() for shape in ((4, 3, 16), (4, 7, 16), (16,))]
    by = torch.randn(4, 3, 7, generator=generator)

    def run(function: Callable[..., Tensor], dtype: torch.dtype) -> list[Tensor]:
        given = [each.to(dtype).requires_grad_() for each in exact]
        scores = function(*given)
        return [scores.detach(), *torch.autograd.grad(scores, given, by.to(dtype))]

    rows = zip(
        *(run(*way) for way in [(additive_scores, torch.float32), (plain_scores, torch.float32)]), strict=True
    )
    for (fast, plain), true in zip(rows, run(plain_scores, torch.float64), strict=True):
        scale = float(true.abs().max())
        error = float((fast - true).abs().max()) / scale
        assert error <= 4 * float((plain - true).abs().max()) / scale + 1e-7
    small = [each[..., :2].narrow(0, 0, 2).clone().requires_grad_() for each in exact]
    assert torch.autograd.gradcheck(additive_scores, small)
    assert torch.autograd.gradgradcheck(additive_scores, small)


def test_additive_scores_under_vmap() -> None:
    query, keys, vector = torch.randn(5, 4, 3, 8), torch.randn(4, 7, 8), torch.randn(8)
    mapped = torch.func.vmap(lambda each: additive_scores(each, keys, vector))(query)
    torch.testing.assert_close(mapped, torch.stack([plain_scores(each, keys, vector) for each in query]))


def test_errors_name_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="attention is 'adaptive'; it must be one of 'additive', 'dot'"):
        new_attention("adaptive", 4, 6)
    with pytest.raises(
        ValueError, match="query_size is 4 and source_size 6; make them equal, or take 'general'"
    ):
        new_attention("dot", 4, 6)
    with pytest.raises(ValueError, match="window is 0"):
        LocalAttention(4, 6, window=0)
    with pytest.raises(ValueError, match=r"num_heads is 3; .* divides query_size=4"):
        MultiHeadAttention(4, 6, num_heads=3)
    attention = new_attention("general", 4, 6)
    with pytest.raises(ValueError, match="5 channels; this attention reads source_size=6"):
        attention.prepare(Encoded(torch.zeros(1, 2, 5), torch.tensor([2])))
    source = attention.prepare(Encoded(torch.zeros(2, 3, 6), torch.tensor([2, 3])))
    with pytest.raises(ValueError, match=r"query has shape \(3, 1, 4\); .* = \(2, queries, 4\)"):
        attention(torch.zeros(3, 1, 4), source)
