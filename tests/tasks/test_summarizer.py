"""Summarizer: it finds what matters in a text and copies it, be it a word that no summary held before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from storyline.tasks import Summarizer, load

SMALL = {
    "hidden_size": 32,
    "dropout": 0.0,
    "label_smoothing": 0.0,
    "epochs": 20,
    "learning_rate": 0.01,
    "batch_tokens": 400,
    "threads": 1,
}
OTHER = ["please", "see", "the", "file", "and", "thank", "you", "all"]
# Two syllables each: as sources they all come in training, as summaries only the first forty.
NAMES = [
    a + b
    for a in ("ba", "do", "ki", "lu", "mer", "nas", "pol", "ven")
    for b in ("ra", "to", "nix", "gul", "sem", "fa", "hop")
]
ASKED, NEW = NAMES[:40], NAMES[40:]


def mails(count: int, seed: int, names: list[str]) -> tuple[list[str], list[str]]:
    """Texts of words in any order, other names among them; the name behind "about" is the summary."""
    random = np.random.default_rng(seed)
    texts, subjects = [], []
    for _ in range(count):
        subject = random.choice(names)
        words = [*random.choice(OTHER, random.integers(2, 6)), *random.choice(NAMES, 3)]
        random.shuffle(words)
        place = int(random.integers(len(words)))
        texts.append(" ".join([*words[:place], "about", subject, *words[place:]]))
        subjects.append(str(subject))
    return texts, subjects


@pytest.fixture(scope="module")
def summarizer() -> Summarizer:
    return Summarizer(**SMALL).fit(*mails(600, 0, ASKED))


def right(model: Summarizer, names: list[str]) -> float:
    texts, subjects = mails(100, 1, names)
    return float(
        np.mean([found == wanted for found, wanted in zip(model.predict(texts), subjects, strict=True)])
    )


def test_copies_words_that_no_summary_held(summarizer: Summarizer) -> None:
    assert right(summarizer, ASKED) > 0.9
    assert right(summarizer, NEW) > 0.8
    # Without copying, what was never written is never written.
    without = Summarizer(**SMALL, copying=False).fit(*mails(600, 0, ASKED))
    assert right(without, NEW) < 0.2


def test_what_stands_behind_the_limit_is_not_read_and_is_counted(summarizer: Summarizer) -> None:
    texts, subjects = mails(60, 2, ASKED)
    long = [f"{text} about {ASKED[0]}" for text in texts]
    model = Summarizer(**SMALL | {"epochs": 1}, source_limit=4).fit(texts, subjects)
    assert model.training_summary_["cut"] == len(texts)
    assert model.predict_best(long) == model.predict_best(texts)
    assert (model.cut_, model.longer_) == (len(texts), 0)
    summarizer.predict(texts)
    assert summarizer.cut_ == 0
    with pytest.raises(ValueError, match="source_limit=0"):
        Summarizer(source_limit=0).fit(texts, subjects)


def test_unknown_words_are_copied_from_what_was_read() -> None:
    texts, subjects = mails(200, 3, ASKED)
    settings = {"level": "word", "copying": False, "min_count": 1000, "source_limit": 3, "epochs": 1}
    model = Summarizer(**SMALL | settings).fit(texts, subjects)
    # All words are unknown, so that all that is written comes out of the first three words.
    for text, found in zip(texts, model.predict(texts, beam=1), strict=True):
        assert set(found.split()) <= set(text.split()[:3])


def test_coverage_is_learned_with_and_saved(tmp_path: Path) -> None:
    texts, subjects = mails(60, 4, ASKED)
    model = Summarizer(**SMALL | {"epochs": 2}, attention="coverage", coverage=1.0).fit(texts, subjects)
    model.save_pretrained(tmp_path)
    restored = load(tmp_path)
    assert isinstance(restored, Summarizer)
    assert restored.predict_best(texts[:10]) == model.predict_best(texts[:10])
    assert restored.evaluate(texts, subjects) == model.evaluate(texts, subjects)
    assert restored.attention(texts[0]).weights.sum() == pytest.approx(
        len(model.attention(texts[0]).target), rel=1e-4
    )


def test_a_word_has_the_same_units_wherever_it_stands(summarizer: Summarizer) -> None:
    encoder = summarizer.encoder_.source
    alone, inside = (encoder.encode(text).tolist() for text in ("melora", "see melora"))
    assert inside[-len(alone) :] == alone
    for text in ("melora see", " two  blanks ", "", "\n"):
        assert encoder.decode(encoder.encode(text)).strip() == text.strip()
    assert encoder.decode(encoder.encode("melora see")) == "melora see"
