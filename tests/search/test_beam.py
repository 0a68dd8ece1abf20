"""Beam search, against a search through everything and against itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from toy_models import Recurrence, every_output

from storyline.layers.decoding import DecodingState
from storyline.search import Beam, Found, Limits, beam_search, greedy_search

END, LETTERS = 1, 4


def search(model: Recurrence, contexts: torch.Tensor, beam: Beam, maximum=4, lengths=None, **limits) -> Found:
    whole = torch.full((len(contexts),), model.source)
    return beam_search(
        model, model.begin(contexts, lengths), beam,
        Limits(torch.zeros(len(contexts), dtype=torch.int64), END, maximum, **limits),
        source_lengths=whole if lengths is None else lengths, attention=True,
    )  # fmt: skip


def score(total: float, looked: np.ndarray, source: int, alpha: float, beta: float) -> float:
    """Wu et al. 2016, eq. 14."""
    lp = (5 + len(looked)) ** alpha / (5 + 1) ** alpha
    return total / lp + beta * sum(math.log(min(sum(step[i] for step in looked), 1.0)) for i in range(source))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("alpha", "beta"), [(0.0, 0.0), (0.7, 0.0), (1.0, 0.2)])
def test_wide_enough_it_finds_the_best_of_all(seed: int, alpha: float, beta: float) -> None:
    model = Recurrence(seed, LETTERS)
    contexts, sources = model.contexts(seed, 3), torch.tensor([4, 1, 3])
    # 3^4 hypotheses are all there are, and a beam of so many is twenty times wider than the vocabulary.
    beam = Beam(81, alpha, beta, n_best=7, patience=math.inf)
    found = search(model, contexts, beam, 4, sources)
    for context, source, hypotheses in zip(contexts, sources.tolist(), found.hypotheses, strict=True):
        every = every_output(model, context, source, END, 4)
        ranked = sorted(every, key=lambda each: -score(each[1], each[2], source, alpha, beta))[:7]
        assert [tuple(each.tokens.tolist()) for each in hypotheses] == [each[0] for each in ranked]
        for ours, (tokens, total, looked) in zip(hypotheses, ranked, strict=True):
            assert ours.log_probability == pytest.approx(total, abs=1e-9)
            assert ours.score == pytest.approx(score(total, looked, source, alpha, beta), abs=1e-6)
            np.testing.assert_allclose(ours.attention, looked[:, :source], atol=1e-9)
            assert len(ours.attention) == len(tokens) + 1


def plain_beam(
    model: Recurrence, context: torch.Tensor, beam: Beam, maximum: int
) -> list[tuple[tuple, float]]:
    """Beam search of one sentence as one would explain it, list by list; no early end."""
    U, E, V, A = (each.numpy() for each in (model.U, model.E, model.V, model.A))
    live, pool = [((), 0.0, np.zeros(model.hidden), ())], []
    for step in range(maximum + 1):
        options = []
        for tokens, total, h, looked in live:
            h = np.tanh(U @ h + E[tokens[-1] if tokens else 0] + context.numpy())
            logs, given = V @ h - np.log(np.exp(V @ h).sum()), np.exp(A @ h)
            looked = (*looked, given / given.sum())
            options += [
                ((*tokens, token), total + logs[token], h, looked) for token in range(model.vocabulary)
            ]
        options.sort(key=lambda each: -each[1])
        for tokens, total, _, looked in options if step == maximum else options[: beam.width]:
            if tokens[-1] == END:
                pool.append(
                    (tokens[:-1], score(total, np.array(looked), model.source, beam.alpha, beam.beta))
                )
        live = [each for each in options if each[0][-1] != END][: beam.width]
        if len(pool) >= beam.patience * beam.width:
            break
    return sorted(pool, key=lambda each: -each[1])[: beam.n_best]


@pytest.mark.parametrize("patience", [1.0, 2.0, math.inf])
@pytest.mark.parametrize("width", [1, 2, 3, 5])
def test_narrow_it_does_what_the_plain_search_does(width: int, patience: float) -> None:
    for seed in range(4):
        model = Recurrence(seed, LETTERS, sharpness=1.0)
        contexts = model.contexts(seed, 6)
        beam = Beam(width, 0.8, 0.1, n_best=width, patience=patience)
        found = search(model, contexts, beam, 5)
        for context, ours in zip(contexts, found.hypotheses, strict=True):
            wanted = plain_beam(model, context, beam, 5)
            assert [tuple(each.tokens.tolist()) for each in ours] == [each[0] for each in wanted]
            assert [each.score for each in ours] == pytest.approx([each[1] for each in wanted])


def test_greedy_is_the_likeliest_at_every_step_and_a_beam_of_one() -> None:
    model = Recurrence(3, 9)
    contexts = model.contexts(3, 5)
    limits = Limits(torch.zeros(5, dtype=torch.int64), END, 12)
    greedy = greedy_search(model, model.begin(contexts), limits)
    for i, ours in enumerate(greedy.best):
        state, token, tokens, total = model.begin(contexts[i : i + 1]), 0, [], 0.0
        while len(tokens) <= 12:
            scores, _, state = model.step(torch.tensor([token]), state)
            token = int(scores.argmax()) if len(tokens) < 12 else END
            total += float(scores.log_softmax(1)[0, token])
            if token == END:
                break
            tokens.append(token)
        assert ours.tokens.tolist() == tokens
        assert ours.score == ours.log_probability == pytest.approx(total)
    beam = beam_search(model, model.begin(contexts), Beam(1, 0.9), limits)
    assert [each.tokens.tolist() for each in beam.best] == [each.tokens.tolist() for each in greedy.best]


def same(one: tuple, other: tuple) -> bool:
    return len(one) == len(other) and all(
        torch.equal(a.tokens, b.tokens)
        and torch.equal(a.attention, b.attention)
        and (a.score, a.log_probability, a.ended) == (b.score, b.log_probability, b.ended)
        for a, b in zip(one, other, strict=True)
    )  # fmt: skip


def test_a_sentence_is_decoded_as_if_it_were_alone() -> None:
    model = Recurrence(5, 300, sharpness=1.5)
    contexts, sources = model.contexts(5, 8), torch.tensor([1, 4, 2, 4, 3, 3, 1, 4])
    beam, longest, least = Beam(4, 0.6, 0.2, n_best=3), torch.arange(3, 11), torch.tensor([0, 1] * 4)
    together = search(model, contexts, beam, longest, sources, minimum=least).hypotheses
    assert len({len(each[0].tokens) for each in together}) > 2
    order = torch.tensor([6, 2, 7, 0, 5, 1, 3, 4])
    shuffled = search(
        model, contexts[order], beam, longest[order], sources[order], minimum=least[order]
    ).hypotheses
    for place, i in enumerate(order.tolist()):
        assert same(shuffled[place], together[i])
        one = slice(i, i + 1)
        alone = search(model, contexts[one], beam, longest[one], sources[one], minimum=least[one])
        assert same(alone.hypotheses[0], together[i])


def test_lengths_and_forbidden_tokens() -> None:
    model = Recurrence(0, LETTERS)
    contexts = model.contexts(0, 2)
    beam = Beam(30, 0.5, n_best=5, patience=math.inf)
    found = search(model, contexts, beam, torch.tensor([3, 4]), minimum=torch.tensor([2, 3]), forbidden=(3,))
    for i, (least, most) in enumerate([(2, 3), (3, 4)]):
        every = every_output(model, contexts[i], 4, END, most, minimum=least, forbidden=(3,))
        ranked = sorted(every, key=lambda each: -score(each[1], each[2], 4, 0.5, 0))[:5]
        assert [tuple(each.tokens.tolist()) for each in found.hypotheses[i]] == [each[0] for each in ranked]
    fewer = search(model, contexts, Beam(30, n_best=30, patience=math.inf), 2, forbidden=(0, 3))
    assert [len(each) for each in fewer.hypotheses] == [3, 3], "only (), (2), (2, 2) are left"
    assert [each.ended for each in fewer.hypotheses[0]].count(False) == 0


class Chain:
    """Says 2, 3, 4, ... and never ends by itself."""

    def step(self, tokens: torch.Tensor, state: DecodingState) -> tuple[torch.Tensor, None, DecodingState]:
        scores = torch.zeros(len(tokens), 400)
        scores[:, END] = -9
        scores[torch.arange(len(tokens)), tokens + 2] = 20
        return scores, None, state


def test_what_is_cut_says_so() -> None:
    begin = torch.tensor([0, 3])
    found = beam_search(Chain(), DecodingState({}, {}), Beam(2), Limits(begin, END, torch.tensor([3, 5])))
    assert [each.tokens.tolist() for each in found.best] == [[2, 4, 6], [5, 7, 9, 11, 13]]
    assert [each.ended for each in found.best] == [False, False]
    assert (found.steps, found.rows) == (6, 2 + 3 * 4 + 2 * 2)


def test_what_cannot_be_searched_is_refused() -> None:
    begin = torch.zeros(2, dtype=torch.int64)
    for wrong, message in [
        ({"width": 0}, "width is 0"), ({"width": 2, "n_best": 3}, "n_best is 3 and width 2"),
        ({"alpha": -1}, "alpha is -1"), ({"beta": math.nan}, "beta is nan"), ({"patience": 0}, "patience is 0"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            Beam(**wrong)
    for wrong, message in [
        ({"maximum": torch.tensor([3, 0])}, "sentence 1 has minimum 0 and maximum 0"),
        ({"maximum": 3, "minimum": 4}, "minimum 4 and maximum 3"), ({"maximum": 2.5}, "maximum is .* whole number"),
        ({"maximum": torch.tensor([3])}, "one a sentence"), ({"maximum": 3, "forbidden": [END]}, "which is the end"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            Limits(begin, END, **wrong)
    empty, limits = DecodingState({}, {}), Limits(begin, END, 3)
    with pytest.raises(ValueError, match="no attention"):
        beam_search(Chain(), empty, Beam(), limits, attention=True)
    with pytest.raises(ValueError, match="needs source_lengths"):
        beam_search(Chain(), empty, Beam(beta=0.1), limits)
    model = Recurrence(0, LETTERS)
    with pytest.raises(ValueError, match="sentence 0 has no output"):
        search(model, model.contexts(0, 1), Beam(), minimum=1, forbidden=(0, 2, 3))
    model.V[2] = torch.nan
    with pytest.raises(ValueError, match="step 1 are not numbers"):
        search(model, model.contexts(0, 1), Beam())
