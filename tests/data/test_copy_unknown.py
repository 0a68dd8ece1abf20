"""Unknown words of an output, replaced by the words of the source that were attended to."""

from __future__ import annotations

import numpy as np
import pytest

from storyline.data import DataError, PairEncoder, copy_unknown

SOURCES, TARGETS = ["Herr Otto geht", "Frau Otto kommt"], ["mister goes", "missus comes"]


def test_the_word_with_the_most_attention() -> None:
    encoder = PairEncoder.learn(SOURCES, TARGETS, "word")
    mister, goes = (int(encoder.target.encode(word)[0]) for word in ("mister", "goes"))
    # Columns: herr, xaver, geht, <end>, padding. What the end and the padding draw is nothing to copy.
    attention = np.array(
        [[0.9, 0.1, 0, 0, 0], [0.1, 0.4, 0.0, 0.5, 0.9], [0, 0, 1, 0, 0], [0.2, 0, 0.7, 0, 0]]
    )
    ids = np.array([mister, 1, goes, 1])
    assert copy_unknown(ids, attention, "Herr Xaver geht", encoder) == "mister xaver goes geht"
    assert copy_unknown(ids[:1], attention, "Herr Xaver geht", encoder) == "mister"
    assert encoder.target.decode(ids) == "mister <unk> goes <unk>"
    assert copy_unknown(ids, np.ones((4, 1)), " ", encoder) == "mister <unk> goes <unk>"


def test_what_is_refused() -> None:
    encoder = PairEncoder.learn(SOURCES, TARGETS, "word")
    with pytest.raises(
        DataError, match=r"shape \(1, 3\); a row for each of 2 ids and a column for each of 3 words"
    ):
        copy_unknown([1, 1], np.ones((1, 3)), "Herr Otto geht", encoder)
    with pytest.raises(DataError, match="the levels are 'char' and 'char'"):
        copy_unknown([1], np.ones((1, 4)), "Herr", PairEncoder.learn(SOURCES, TARGETS, "char"))
