"""LanguageModel.surprisal: a probability of texts, the same alone and in company, and that of reading step by step."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch

from storyline.tasks import LanguageModel, language_scoring

QUICK: dict[str, Any] = {
    "hidden_size": 16,
    "embedding_size": 8,
    "steps": 12,
    "batch_size": 4,
    "epochs": 2,
    "learning_rate": 0.02,
    "validation_fraction": 0.0,
    "threads": 1,
}
TEXTS = ["a", "abcab", "cabbacab" * 5, "bb"]


def letters(n: int) -> str:
    return "".join(np.random.default_rng(0).choice(list("aabcc"), size=n))


@pytest.fixture(scope="module", params=["one text", "documents"])
def trained(request: pytest.FixtureRequest) -> LanguageModel:
    text = letters(800)
    documents = [text[start : start + 40] for start in range(0, 800, 40)]
    return LanguageModel(**QUICK).fit(text if request.param == "one text" else documents)


def stepped(model: LanguageModel, text: str, context: str) -> list[float]:
    """Token by token, with the network's own `step`."""
    ids = model.encoder_.encode(context + text)
    costs, carry = [], None
    with torch.no_grad():
        for here, after in itertools.pairwise(ids.tolist()):
            scores, carry = model.network_.step(torch.tensor([here]), carry)
            costs.append(-float(scores[0, after]))
    return costs[len(context) - 1 :]


def test_the_cost_is_that_of_reading_step_by_step(trained: LanguageModel) -> None:
    contexts = ["cab", "b", "ab", "abcab" * 7]
    for costs, text, context in zip(trained.surprisal(TEXTS, contexts), TEXTS, contexts, strict=True):
        np.testing.assert_allclose(costs, stepped(trained, text, context), rtol=1e-5)


def test_alone_and_in_company_are_the_same(trained: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    together = trained.surprisal(TEXTS)
    for text, costs in zip(TEXTS, together, strict=True):
        assert costs.shape == (len(text),)
        np.testing.assert_allclose(trained.surprisal(text)[0], costs, rtol=1e-5)
    # In parts of a few rows, steps and scores, too.
    for name, value in (("_ROWS", 2), ("_READING", 7), ("_SCORED", 3)):
        monkeypatch.setattr(language_scoring, name, value)
    for costs, parts in zip(together, trained.surprisal(TEXTS), strict=True):
        np.testing.assert_allclose(parts, costs, rtol=1e-5)


def test_the_probabilities_of_all_texts_of_a_length_sum_to_one() -> None:
    """Of words, whose every id can be written; <pad> and <end> as words are unknown ones."""
    model = LanguageModel(**QUICK, level="word").fit(" ".join(letters(400)))
    words = model.encoder_.names()
    pairs = [f"{one} {two}" for one, two in itertools.product([*words[3:], "<unk>", "\n"], repeat=2)]
    total = sum(math.exp(-costs.sum()) for costs in model.surprisal(pairs, "a"))
    assert 0.99 < total <= 1 + 1e-6  # all but what <pad> gets
    # Without a context the first word comes by its frequency: of 6 ids with half a count each.
    counts = model.encoder_.counts
    assert model.surprisal("b")[0][0] == pytest.approx(
        -math.log((counts[words.index("b")] + 0.5) / (400 + 3))
    )


def test_a_document_begins_after_the_end_of_another(trained: LanguageModel) -> None:
    if not trained.many_:
        assert trained.surprisal("ab")[0][1] == pytest.approx(stepped(trained, "b", "a")[0], rel=1e-5)
        return
    with torch.no_grad():
        scores, _ = trained.network_.step(torch.tensor([trained.encoder_.end_id]), None)
    assert trained.surprisal("a")[0][0] == pytest.approx(
        -float(scores[0, trained.encoder_.encode("a")[0]]), rel=1e-5
    )


def test_unknown_tokens_are_counted(trained: LanguageModel) -> None:
    trained.surprisal(["abx", "ay"], "az")
    assert trained.unknown_ == (4, 9)


@pytest.mark.parametrize(
    ("texts", "context", "message"),
    [
        ([], None, "texts holds no text"),
        (["a", ""], None, r"texts\[1\] is an empty text"),
        (["a", "b"], ["a"], "there are 1 contexts for 2 texts; give one, or one a text"),
        (["a"], "", r"context\[0\] is an empty text"),
        ([3], None, r"texts\[0\] is int"),
    ],
)
def test_refuses(trained: LanguageModel, texts: Any, context: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trained.surprisal(texts, context)


def test_a_text_without_words_is_refused() -> None:
    model = LanguageModel(**QUICK, level="word").fit(" ".join(letters(100)))
    with pytest.raises(ValueError, match="a text has no token"):
        model.surprisal(["a", "  "])
    with pytest.raises(ValueError, match="a context has no token"):
        model.surprisal("a", "  ")
