"""Encoders of source and target: shared or not, with an end that no text holds, saved and built again."""

from __future__ import annotations

import json

import pytest

from storyline.data import BytePairEncoder, DataError, PairEncoder, WordEncoder

SOURCES = ["der Hund schläft", "die Katze\nschläft", "der Hund und die Katze"]
TARGETS = ["the dog sleeps", "the cat\nsleeps", "the dog and the cat"]


@pytest.mark.parametrize("level", ["word", "char", "subword"])
@pytest.mark.parametrize("shared", [True, False])
def test_learned_saved_and_built_again(level: str, shared: bool) -> None:
    encoder = PairEncoder.learn(SOURCES, TARGETS, level, shared=shared)
    assert encoder.shared is shared
    assert (encoder.source.size == encoder.target.size) is shared or not shared
    again = PairEncoder.from_document(json.loads(json.dumps(encoder.to_document())))
    assert again.shared is shared
    assert again.to_document() == encoder.to_document()
    for texts, encode, side in (
        (SOURCES, again.encode_sources, again.source),
        (TARGETS, again.encode_targets, again.target),
    ):
        rows = encode(texts)
        assert [ids.tolist() for ids in rows] == [ids.tolist() for ids in encode(texts)]
        for ids, text in zip(rows, texts, strict=True):
            ends = int((ids == encoder.end_id).sum())
            assert ends == (side is again.source and encode == again.encode_sources)
            shown = text.replace("\n", " ").lower() if level == "word" else text
            assert side.decode(ids) == shown
    assert encoder.encode_sources([""])[0].tolist() == [encoder.end_id]
    assert encoder.encode_targets([""])[0].tolist() == []


def test_begin_is_end() -> None:
    assert BytePairEncoder(end=True).begin_id == BytePairEncoder(end=True).end_id == 2
    assert BytePairEncoder().begin_id is None
    plain = WordEncoder().fit(["a"])
    with pytest.raises(DataError, match="make both encoders with end=True"):
        _ = PairEncoder(plain, plain).end_id


def test_a_text_of_one_line_or_of_many() -> None:
    lines, text = WordEncoder(end=True).fit(["a\nb"]), WordEncoder(end=True, line_ends=False).fit(["a\nb"])
    assert lines.encode("a\nb").tolist() == [3, 2, 4]
    assert text.encode("a\nb").tolist() == [3, 4]
    assert lines.decode([3, 2, 4]) == "a\nb"
    assert text.decode([3, 4, 2]) == "a b"
    document = lines.to_document()
    del document["line_ends"]  # as models were saved before there was a choice
    assert WordEncoder.from_document(document).encode("a\nb").tolist() == [3, 2, 4]
    spaced = WordEncoder(end=True, line_ends=False, whitespace=True).fit(["a b"])
    assert spaced.encode("a\n b\n").tolist() == [3, 4]
    assert spaced.decode([3, 2, 4, 2]) == "a b"
