"""What stands where in a text, and how answers are scored."""

from __future__ import annotations

import numpy as np
import pytest

from storyline.data import WordEncoder
from storyline.tasks.answer_scoring import answer_scores, exact_match, f1, normalised
from storyline.tasks.answer_spans import token_spans
from storyline.tasks.answer_stories import sentences_of


@pytest.mark.parametrize(
    ("context", "answer", "tokens"),
    [
        ("The 1973 oil crisis began.", "1973", [["1973"]]),
        ("In 1973, and in 1973 again.", "1973", [["1973"], ["1973"]]),
        ("US$3 per barrel", "$3", [["$", "3"]]),
        # Inside a token: the whole token.
        ("the unbelievable end", "believable", [["unbelievable"]]),
        ("at 3.14 or so", "14 or", [["3.14", "or"]]),
        ("état-nation", "nation", [["nation"]]),
        # A letter whose lower case is longer moves nothing.
        ("İİİ met Anna", "Anna", [["Anna"]]),
        ("aXaXa", "aXa", [["aXaXa"]]),
        ("nothing of it", "all", []),
        ("case Matters", "matters", []),
    ],
)
def test_answers_become_tokens(context: str, answer: str, tokens: list[list[str]]) -> None:
    offsets = np.array(WordEncoder().offsets(context))
    found = [
        [context[start:end] for start, end in offsets[first : last + 1]]
        for first, last in token_spans(context, [answer], offsets)
    ]
    assert found == tokens


@pytest.mark.parametrize("text", ["Don't, he said: 3.14 (or so)!", "हिन्दी में", "a\nb  c", "日本 と"])
@pytest.mark.parametrize("whitespace", [False, True])
def test_offsets_are_those_of_the_tokens(text: str, whitespace: bool) -> None:
    encoder = WordEncoder(whitespace=whitespace, lowercase=False)
    assert [text[start:end] for start, end in encoder.offsets(text)] == encoder.tokens(text)


@pytest.mark.parametrize(
    ("context", "sentences"),
    [
        ("Mary left. John stayed!  Did he? Yes", ["Mary left.", "John stayed!", "Did he?", "Yes"]),
        ("It is 3.14 long", ["It is 3.14 long"]),
        ("one\n\n two \nthree", ["one", "two", "three"]),
        ("你好。再见。", ["你好。", "再见。"]),
    ],
)
def test_sentences(context: str, sentences: list[str]) -> None:
    assert sentences_of(context) == sentences


# From the official script of SQuAD 1.1, evaluate-v1.1.py, run by hand on these.
@pytest.mark.parametrize(
    ("answer", "right", "exact", "overlap"),
    [
        ("the Denver Broncos", ["Denver Broncos"], 1.0, 1.0),
        ("October, 1973.", ["1973", "October 1973"], 1.0, 1.0),
        ("in October 1973", ["October 1973"], 0.0, 0.8),
        ("nothing", ["October 1973"], 0.0, 0.0),
        ("to be or to be", ["to be"], 0.0, 2 * 2 / 7),
        ("The", ["a"], 1.0, 0.0),
    ],
)
def test_scores_are_those_of_squad(answer: str, right: list[str], exact: float, overlap: float) -> None:
    assert exact_match(answer, right) == exact
    assert f1(answer, right) == pytest.approx(overlap)
    assert answer_scores([answer], [right]).tolist() == [[exact, pytest.approx(overlap)]]


def test_normalising() -> None:
    assert normalised("  An apple-pie, THE  best of a kind! ") == "applepie best of kind"
