"""Drawn outputs, against the probabilities of everything that could be drawn."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from scipy import stats
from toy_models import Recurrence, every_output

from storyline.layers.decoding import DecodingState
from storyline.search import Found, Limits, Sampling, sample, seeded_chance

END = 1


def drawn(
    model: Recurrence, contexts: torch.Tensor, sampling: Sampling, seeds, maximum=2, lengths=None, **more
) -> Found:
    limits = Limits(torch.zeros(len(contexts), dtype=torch.int64), END, maximum, **more)
    luck = seeded_chance(seeds, int(torch.as_tensor(maximum).max()) + 1)
    return sample(
        model, model.begin(contexts, lengths), sampling, limits, luck, source_lengths=lengths, attention=True
    )


def test_outputs_come_as_often_as_they_are_likely() -> None:
    model = Recurrence(2, 4, sharpness=0.7)
    context = model.contexts(2, 1)
    count = 4000
    found = drawn(model, context.expand(count, -1), Sampling(), range(count))
    seen = Counter(tuple(each.tokens.tolist()) for each in found.best)
    expected, log_probability = Counter(), {}
    for tokens, total, _ in every_output(model, context[0], 4, END, 2):
        log_probability[tokens] = total
        expected[tokens] += np.exp(total) if len(tokens) < 2 else 0
    longest = [tokens for tokens in log_probability if len(tokens) == 2]
    # An output that is cut comes as often as its tokens do, whatever follows them.
    for first in {tokens[0] for tokens in longest}:
        scores = step_scores(model, context, (0, first))
        for tokens in longest:
            if tokens[0] == first:
                before = np.exp(step_scores(model, context, (0,))[first])
                expected[tokens] = before * np.exp(scores[tokens[1]])
    assert sum(expected.values()) == pytest.approx(1)
    observed = [seen[tokens] for tokens in expected]
    assert stats.chisquare(observed, [count * each for each in expected.values()]).pvalue > 1e-3
    for each in found.best[:20]:
        assert (
            each.score == each.log_probability == pytest.approx(log_probability[tuple(each.tokens.tolist())])
        )


def step_scores(model: Recurrence, context: torch.Tensor, read: tuple[int, ...]) -> np.ndarray:
    h = np.zeros(model.hidden)
    for token in read:
        h = np.tanh(model.U.numpy() @ h + model.E.numpy()[token] + context[0].numpy())
    scores = model.V.numpy() @ h
    return scores - np.log(np.exp(scores).sum())


@pytest.mark.parametrize(
    ("sampling", "wanted"),
    [
        (Sampling(), [0.5, 0.25, 0.15, 0.1]),
        (Sampling(temperature=0.5), [0.25, 0.0625, 0.0225, 0.01]),
        (Sampling(top_k=2), [0.5, 0.25, 0, 0]),
        (Sampling(top_p=0.8), [0.5, 0.25, 0.15, 0]),
        (Sampling(temperature=0), [1, 0, 0, 0]),
        (Sampling(temperature=2, top_k=3, top_p=0.6), [0.5**0.5, 0.25**0.5, 0, 0]),
    ],
)
def test_probabilities_are_those_of_the_setting(sampling: Sampling, wanted: list[float]) -> None:
    scores = torch.tensor([0.15, 0.5, 0.1, 0.25]).log()
    ours = sampling.probabilities(torch.stack((scores, scores.flip(0) - 3)))
    order = [1, 3, 0, 2]
    np.testing.assert_allclose(ours[0, order] / ours[0].sum(), np.array(wanted) / sum(wanted), atol=1e-7)
    torch.testing.assert_close(ours[1].flip(0), ours[0])


def test_a_sentence_is_drawn_by_its_own_seed_as_if_it_were_alone() -> None:
    model = Recurrence(4, 40, sharpness=0.5)
    contexts, sources, maximum = model.contexts(4, 6), torch.tensor([1, 4, 2, 3, 4, 2]), torch.arange(4, 10)
    seeds, sampling = [11, 12, 13, 14, 15, 11], Sampling(0.9, top_p=0.95)
    together = drawn(model, contexts, sampling, seeds, maximum, sources, forbidden=(0,), minimum=2)
    for i, ours in enumerate(together.best):
        one = slice(i, i + 1)
        alone = drawn(
            model, contexts[one], sampling, seeds[one], maximum[one], sources[one], forbidden=(0,), minimum=2
        ).best[0]
        assert torch.equal(alone.tokens, ours.tokens)
        assert alone.score == ours.score
        assert torch.equal(alone.attention, ours.attention)
        assert 2 <= len(ours.tokens) <= int(maximum[i])
        assert 0 not in ours.tokens
        assert ours.attention.shape == (len(ours.tokens) + 1, int(sources[i]))
    others = drawn(model, contexts, sampling, range(6), maximum, sources, forbidden=(0,), minimum=2)
    assert [each.tokens.tolist() for each in others.best] != [each.tokens.tolist() for each in together.best]


class Certain:
    """The token after the one that was read, and no other."""

    def step(self, tokens: torch.Tensor, state: DecodingState) -> tuple[torch.Tensor, None, DecodingState]:
        return torch.full((len(tokens), 9), -torch.inf).scatter(1, tokens[:, None] + 1, 0), None, state


def test_the_ends_of_chance_draw_what_can_come() -> None:
    limits = Limits(torch.tensor([3, 4]), 7, torch.tensor([9, 2]))
    luck = torch.stack((torch.zeros(10), torch.full((10,), 1 - 2**-53, dtype=torch.float64)))
    found = sample(Certain(), DecodingState({}, {}), Sampling(), limits, luck)
    assert [each.tokens.tolist() for each in found.best] == [[4, 5, 6], [5, 6]]
    assert [each.ended for each in found.best] == [True, True]
    with pytest.raises(ValueError, match=r"chance is \(2, 3\); it must be \(2, 10\)"):
        sample(Certain(), DecodingState({}, {}), Sampling(), limits, luck[:, :3])
    barred = Limits(torch.tensor([3]), 7, 5, forbidden=(4,))
    with pytest.raises(ValueError, match="nothing can be drawn"):
        sample(Certain(), DecodingState({}, {}), Sampling(), barred, luck[:1])
