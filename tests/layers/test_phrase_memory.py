"""A phrase memory says what counting phrases by hand says, whichever way it is asked."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch

from storyline.layers import PhraseMemory, phrase_memory

SIZE, LONGEST = 5, 4


def texts(count: int, seed: int) -> list[np.ndarray]:
    """Of five tokens, where one is often followed by the next, so that phrases come again."""
    generator = np.random.default_rng(seed)
    return [
        np.cumsum(generator.choice([1, 2, 4], p=[0.7, 0.2, 0.1], size=generator.integers(1, 12))) % SIZE
        for _ in range(count)
    ]


def counted(kept: list[np.ndarray], phrase: tuple[int, ...]) -> int:
    """How often a phrase stands in the texts, each of which begins with -1."""
    rows = [(-1, *text.tolist()) for text in kept]
    return sum(
        row[place : place + len(phrase)] == phrase
        for row in rows
        for place in range(len(row) - len(phrase) + 1)
    )


def by_hand(
    memory: PhraseMemory, kept: list[np.ndarray], before: tuple[int, ...], base: np.ndarray
) -> np.ndarray:
    """P of every token after `before`, by the equation."""
    p = base.copy()
    for n in range(1, LONGEST + 1):
        phrase = (-1, *before)[-n:]
        following = np.array([counted(kept, (*phrase, token)) for token in range(SIZE)])
        count = following.sum()
        if len(phrase) < n or count == 0:
            break
        weight = float(memory.weights[n - 1, int(np.ceil(np.log2(count)))])
        p = (1 - weight) * p
        p += weight * following / count
    return p


@pytest.fixture(scope="module")
def kept() -> list[np.ndarray]:
    return texts(40, seed=0)


@pytest.fixture(scope="module")
def memory(kept: list[np.ndarray]) -> PhraseMemory:
    memory = PhraseMemory(LONGEST)
    memory.keep(kept)
    memory.weights.uniform_(0.1, 0.9, generator=torch.Generator().manual_seed(0))
    return memory


def test_every_token_has_the_probability_that_counting_gives(
    memory: PhraseMemory, kept: list[np.ndarray]
) -> None:
    base = np.random.default_rng(1).dirichlet(np.ones(SIZE), size=30)
    histories = texts(30, seed=2)
    recent = torch.cat([memory.after(memory.first(1), torch.from_numpy(text)[None]) for text in histories])
    found = memory.log_probabilities(torch.from_numpy(base).log(), recent).exp()
    wanted = [by_hand(memory, kept, tuple(text), row) for text, row in zip(histories, base, strict=True)]
    assert found.numpy() == pytest.approx(np.array(wanted), abs=1e-12)
    assert found.sum(1).numpy() == pytest.approx(1, abs=1e-12)


def test_surprisal_is_that_of_the_steps(memory: PhraseMemory) -> None:
    rows = texts(20, seed=3)
    generator = np.random.default_rng(4)
    costs = [generator.uniform(0.1, 3, size=generator.integers(1, len(row) + 1)) for row in rows]
    for row, cost, found in zip(rows, costs, memory.surprisal(rows, costs), strict=True):
        for place in range(len(row) - len(cost), len(row)):
            recent = memory.after(memory.first(1), torch.from_numpy(row[:place])[None])
            base = torch.full((1, SIZE), float(np.exp(-cost[place - len(row)])), dtype=torch.float64)
            step = memory.log_probabilities(base.log(), recent)[0, row[place]]
            assert found[place - len(row)] == pytest.approx(-float(step), abs=1e-12)


def test_what_was_read_last_is_the_same_in_chunks_and_beside_longer_rows(memory: PhraseMemory) -> None:
    long, short = torch.tensor([[0, 1, 2, 3, 4, 0, 1]]), torch.tensor([[3, 2]])
    chunks = memory.after(memory.after(memory.first(1), long[:, :3]), long[:, 3:])
    assert torch.equal(chunks, memory.after(memory.first(1), long))
    padded = torch.cat([long, torch.nn.functional.pad(short, (0, 5))])
    both = memory.after(memory.first(2), padded, torch.tensor([7, 2]))
    assert torch.equal(both, torch.cat([chunks, memory.after(memory.first(1), short)]))


def test_no_other_weights_foretell_better(kept: list[np.ndarray]) -> None:
    memory = PhraseMemory(LONGEST)
    memory.keep(kept)
    asked = texts(60, seed=5)
    costs = [np.full(len(row), np.log(SIZE)) for row in asked]

    def cost() -> float:
        # One time more that a phrase was wrong belongs to what is made small.
        own = np.concatenate(memory.surprisal(asked, costs)).sum()
        return float(own - (1 - memory.weights).log().sum())

    memory.fit_weights(asked, costs)
    best, weights = cost(), memory.weights.clone()
    assert best < np.concatenate(costs).sum()
    generator = torch.Generator().manual_seed(0)
    for _ in range(8):
        change = 0.05 * torch.randn(weights.shape, generator=generator, dtype=torch.float64)
        memory.weights = (weights + change).clamp(0, 0.999)
        assert cost() > best


def test_a_file_brings_the_texts_back_into_an_empty_memory(memory: PhraseMemory) -> None:
    file = io.BytesIO()
    torch.save(memory.state_dict(), file)
    file.seek(0)
    again = PhraseMemory(LONGEST)
    again.load_state_dict(torch.load(file))
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in memory.state_dict().items())


def test_an_empty_memory_changes_nothing_and_no_length_is_refused() -> None:
    memory = PhraseMemory(LONGEST)
    scores = torch.randn(2, SIZE).log_softmax(-1)
    assert torch.equal(memory.log_probabilities(scores, memory.first(2)), scores)
    (found,) = memory.surprisal([np.array([1, 2])], [np.array([0.5, 2.0])])
    assert found == pytest.approx([0.5, 2.0])
    assert memory.surprisal([], []) == []
    for longest in (0, 2.5):
        with pytest.raises(ValueError, match=f"longest is {longest}; a phrase has one token or more"):
            PhraseMemory(longest)  # type: ignore[arg-type]
    for text, message in ((np.array([1.7]), "ids of float64"), (np.array([3, -1]), "the least of them -1")):
        with pytest.raises(ValueError, match=message):
            memory.keep([text])


def test_costs_are_numbers_however_large_and_no_more_than_tokens(memory: PhraseMemory) -> None:
    # Never seen, and as unlikely as a number can say: nothing but the weights is added.
    (found,) = memory.surprisal([np.array([9])], [np.array([900.0])])
    assert 900 < float(found[0]) < 905
    for cost in ([np.nan], [1.0, 2.0]):
        with pytest.raises(ValueError, match="a text of 1 tokens has the costs"):
            memory.surprisal([np.array([1])], [np.array(cost)])


def test_texts_that_are_looked_up_apart_cost_the_same(
    memory: PhraseMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = texts(50, seed=6)
    costs = [np.full(len(row), 2.0) for row in rows]
    together = memory.surprisal(rows, costs)
    monkeypatch.setattr(phrase_memory, "_TOGETHER", 16)
    for found, wanted in zip(memory.surprisal(rows, costs), together, strict=True):
        assert found == pytest.approx(wanted, abs=1e-12)
