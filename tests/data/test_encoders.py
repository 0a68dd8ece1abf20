"""Encoders: round trips, determinism, specials, documents."""

from __future__ import annotations

import json
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from storyline.data import (
    BytePairEncoder,
    CharacterEncoder,
    DataError,
    TextEncoder,
    WordEncoder,
    text_encoder,
)
from storyline.data.encoders.words import _pattern

TEXTS = [
    "The cat sat on the mat; the dog didn't.",
    'It costs $3.50, or 1,000 yen (about), he said: "too much!"',
    "Das Mädchen öffnet das Fenster. यह हिन्दी है 😀👍🏽",
    "x <unk> y <pad> z <end>",
]
KINDS: list[TextEncoder] = [
    WordEncoder(),
    WordEncoder(whitespace=True, lowercase=False, end=True),
    WordEncoder(max_size=12, end=True),
    CharacterEncoder(),
    CharacterEncoder(end=True, lowercase=True, min_count=2),
    BytePairEncoder(max_size=300),
    BytePairEncoder(max_size=290, end=True, lowercase=True),
]
ANY = st.text(max_size=40) | st.text(st.sampled_from("ab' .,3\"\n’é\u0301<unk>"), max_size=30)


@pytest.mark.parametrize("encoder", KINDS, ids=lambda e: f"{e.level}-{e.end}")
def test_what_all_encoders_owe(encoder: TextEncoder) -> None:
    encoder.fit(TEXTS)
    assert (encoder.pad_id, encoder.unknown_id, encoder.end_id) == (0, 1, 2 if encoder.end else None)
    assert encoder.names()[:2] == ["<pad>", "<unk>"]
    assert len(encoder.names()) == len(encoder.counts) == encoder.size
    assert encoder.counts.dtype == np.int64
    all_ids = encoder.encode_all(TEXTS)
    for text, ids in zip(TEXTS, all_ids, strict=True):
        assert ids.dtype == np.int64
        np.testing.assert_array_equal(ids, encoder.encode(text))
    seen = np.concatenate(all_ids)
    np.testing.assert_array_equal(np.bincount(seen, minlength=encoder.size), encoder.counts)
    assert encoder.unknown(seen) == np.sum(seen == 1)
    document = json.loads(json.dumps(encoder.to_document()))
    again = TextEncoder.from_document(document)
    assert type(again) is type(encoder)
    assert again.to_document() == encoder.to_document()
    assert vars(again).keys() == vars(encoder).keys()
    for text, ids in zip(TEXTS, all_ids, strict=True):
        np.testing.assert_array_equal(again.encode(text), ids)
        assert again.decode(ids) == encoder.decode(ids)
    assert encoder.encode("").shape == (0,)
    assert encoder.decode([]) == ""
    assert encoder.decode([0, *all_ids[0], 0, 0]) == encoder.decode(all_ids[0])


@pytest.mark.parametrize("level", ["word", "char", "subword"])
def test_text_encoder_by_level(level: str) -> None:
    encoder = text_encoder(level, lowercase=True)
    assert encoder.level == level
    for use in (lambda: encoder.encode("a"), lambda: encoder.decode([1]), lambda: encoder.size):
        with pytest.raises(DataError, match="call fit first"):
            use()


def test_unknown_level() -> None:
    with pytest.raises(DataError, match="level is 'words'; it must be one of 'word', 'char', 'subword'"):
        text_encoder("words")


def test_words_are_cut() -> None:
    words = WordEncoder(lowercase=False).tokens
    assert words("The dog's 3.50, 1,000 (don't)!") == [
        "The",
        "dog's",
        "3.50",
        ",",
        "1,000",
        "(",
        "don't",
        ")",
        "!",
    ]
    assert words("it’s well-known... <br />") == [
        "it’s",
        "well",
        "-",
        "known",
        ".",
        ".",
        ".",
        "<",
        "br",
        "/",
        ">",
    ]
    assert words("यह हिन्दी है") == ["यह", "हिन्दी", "है"]
    assert words("cafe\u0301s 😀👍🏽 a <unk>") == ["cafe\u0301s", "😀", "👍", "🏽", "a", "<unk>"]
    assert WordEncoder().tokens("The END") == ["the", "end"]


def test_word_ids_by_count_then_alphabet() -> None:
    encoder = WordEncoder(min_count=2).fit(["b a c b", "a b d"])
    assert encoder.names() == ["<pad>", "<unk>", "b", "a"]
    assert encoder.counts.tolist() == [0, 2, 3, 2]
    ids = encoder.encode("a b d zebra")
    assert ids.tolist() == [3, 2, 1, 1]
    assert encoder.unknown(ids) == 2
    assert encoder.decode(ids) == "a b <unk> <unk>"
    assert WordEncoder().fit(["b a c b", "a b d"]).names() == ["<pad>", "<unk>", "b", "a", "c", "d"]


def test_names_of_specials_inside_texts() -> None:
    encoder = WordEncoder(whitespace=True, end=True).fit(["a <unk> <pad> <end> <unk>"])
    assert encoder.names() == ["<pad>", "<unk>", "<end>", "a"]
    assert encoder.encode("<unk> <pad> <end> a").tolist() == [1, 1, 1, 3]
    assert encoder.counts.tolist() == [0, 4, 0, 1]


def test_line_breaks_are_ends_where_asked_for() -> None:
    encoder = WordEncoder(whitespace=True, end=True).fit(["a b\nc\n\n"])
    assert encoder.encode("a b\nc\n\n").tolist() == [3, 4, 2, 5, 2, 2]
    assert encoder.counts.tolist() == [0, 0, 3, 1, 1, 1]
    assert encoder.decode([3, 4, 2, 5, 2, 2]) == "a b\nc\n\n"
    assert WordEncoder(end=True).fit(["a, b\nc"]).decode([3, 2, 4]) in {"a\nb", ",\na", "a\n,", ",\nb"}
    assert WordEncoder(whitespace=True).fit(["a\nb"]).encode("a\nb").tolist() == [2, 3]


def test_words_are_joined_sensibly() -> None:
    text = 'he said: "don\'t (ever) pay $5, or 3.50!" and left.'
    encoder = WordEncoder().fit([text])
    assert encoder.decode(encoder.encode(text)) == text


@settings(max_examples=100, deadline=None)
@given(ANY)
def test_ascii_words_are_cut_alike_by_both_patterns(text: str) -> None:
    text = text.encode("ascii", "ignore").decode()
    assert _pattern(True, marks=False).findall(text) == _pattern(True, marks=True).findall(text)


@settings(max_examples=150, deadline=None)
@given(ANY)
@example('a " " " b')
@example("( ' 3 . 5 )")
def test_joined_words_are_cut_as_before(text: str) -> None:
    for end in (False, True):
        encoder = WordEncoder(end=end).fit([text])
        ids = encoder.encode(text)
        assert encoder.encode(encoder.decode(ids)).tolist() == ids.tolist()
        assert (
            "".join(encoder.tokens(text)).split() == "".join(re.findall(r"\n|\S", text.lower())).split()
            or not end
        )


@settings(max_examples=100, deadline=None)
@given(ANY)
def test_words_between_blanks_come_back(text: str) -> None:
    text = text.replace("<pad>", "").replace("<end>", "")
    encoder = WordEncoder(whitespace=True, lowercase=False).fit([text])
    assert encoder.decode(encoder.encode(text)) == " ".join(text.split())
    encoder = WordEncoder(whitespace=True, lowercase=False, end=True).fit([text])
    assert encoder.decode(encoder.encode(text)) == "\n".join(
        " ".join(line.split()) for line in text.split("\n")
    )


@settings(max_examples=100, deadline=None)
@given(st.lists(ANY, min_size=1, max_size=3), ANY)
def test_characters_come_back(texts: list[str], other: str) -> None:
    encoder = CharacterEncoder().fit(texts)
    for text in texts:
        assert encoder.decode(encoder.encode(text)) == text
    known = set("".join(texts))
    assert encoder.decode(encoder.encode(other)) == "".join(c if c in known else "\ufffd" for c in other)
    counts = Counter("".join(texts))
    assert encoder.names()[2:] == sorted(counts, key=lambda c: (-counts[c], c))


def test_rare_characters() -> None:
    encoder = CharacterEncoder(min_count=2).fit(["abba c\ud800"])
    assert encoder.names() == ["<pad>", "<unk>", "a", "b"]
    assert encoder.counts.tolist() == [0, 3, 2, 2]
    assert encoder.decode(encoder.encode("ab c\U0010ffff")) == "ab\ufffd\ufffd\ufffd"
    assert CharacterEncoder(end=True).fit(["a"]).decode([3, 2, 0, 1]) == "a\ufffd"
    assert CharacterEncoder(max_size=3).fit(["abb"]).names() == ["<pad>", "<unk>", "b"]


BYTE_PAIRS = BytePairEncoder(max_size=320, end=True).fit(TEXTS * 3)


@settings(max_examples=150, deadline=None)
@given(ANY)
@example("<pad> <unk><end>")
@example(" \t\r\n  a\u0000\U0010ffff")
def test_byte_pairs_bring_any_text_back(text: str) -> None:
    ids = BYTE_PAIRS.encode(text)
    assert BYTE_PAIRS.decode(ids) == text
    assert BYTE_PAIRS.unknown(ids) == 0
    assert not len(ids) or ids.min() > 2


def test_byte_pairs_of_specials_and_of_half_characters() -> None:
    ids = BYTE_PAIRS.encode("the cat")
    assert BYTE_PAIRS.decode([0, *ids, 2, *ids, 1]) == "the catthe cat\ufffd"
    split = BYTE_PAIRS.encode("é日")
    assert BYTE_PAIRS.decode([split[0], 0, *split[1:]]) == "é日"
    assert "\ufffd" in BYTE_PAIRS.decode(BYTE_PAIRS.encode("日")[:1])
    with pytest.raises(DataError, match="character 3 of the text is half a surrogate pair"):
        BYTE_PAIRS.encode("ab\ud800")


def test_byte_pairs_are_trained_alike_each_time() -> None:
    texts = [" ".join(f"{a}{b}" for a in "abcdefgh" for b in "xyzuvw")] * 5
    documents = {json.dumps(BytePairEncoder(max_size=330).fit(texts).to_document()) for _ in range(5)}
    assert len(documents) == 1
    assert json.dumps(BytePairEncoder(max_size=330).fit(iter(texts)).to_document()) in documents


@pytest.mark.parametrize("encoder", [WordEncoder(min_count=0), CharacterEncoder(min_count=0)])
def test_bad_min_count(encoder: TextEncoder) -> None:
    with pytest.raises(DataError, match="min_count is 0; it must be at least 1"):
        encoder.fit(["a"])


@pytest.mark.parametrize(
    ("encoder", "least"),
    [(WordEncoder(max_size=2), "above the 2"), (BytePairEncoder(max_size=257), "at least 258")],
)
def test_bad_max_size(encoder: TextEncoder, least: str) -> None:
    with pytest.raises(DataError, match=rf"max_size is \d+; it must be {least}"):
        encoder.fit(["a"])
