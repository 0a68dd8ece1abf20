"""The data of the benchmarks, read as users would read it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from storyline.data import (
    CharacterEncoder,
    WordEncoder,
    labels,
    ragged_order,
    read_table,
    read_text,
    series,
    tagged,
    texts,
)

pytestmark = pytest.mark.data


def test_imdb(data_folder: Path) -> None:
    table = read_table(data_folder / "imdb" / "test_5k.jsonl.gz")
    reviews = texts(table, "text")
    assert len(reviews) == 5000
    assert set(labels(table, "label")) == {"0", "1"}
    encoder = WordEncoder(max_size=20_000).fit(reviews[:1000])
    ids = encoder.encode_all(reviews[:1000])
    lengths = np.array([len(text) for text in ids])
    batches = ragged_order(lengths, 32, seed=0, epoch=0)
    assert sum(lengths[batch].max() * len(batch) for batch in batches) < 1.15 * lengths.sum()


def test_english_web_treebank(data_folder: Path) -> None:
    # Sizes as https://universaldependencies.org/treebanks/en_ewt counts them (dev, words).
    path = data_folder / "ud_english_ewt" / "en_ewt-ud-dev.conllu.gz"
    tokens, tags = tagged(read_table(path))
    assert len(tokens) == 2001
    assert tokens[0] == ["From", "the", "AP", "comes", "this", "story", ":"]
    assert tags[0] == ["ADP", "DET", "PROPN", "VERB", "DET", "NOUN", "PUNCT"]
    assert len({tag for row in tags for tag in row}) == 17
    assert tagged(read_table(path, tags="xpos"))[1][0][:2] == ["IN", "DT"]


def test_wnut17(data_folder: Path) -> None:
    tokens, tags = tagged(read_table(data_folder / "wnut17" / "wnut17train.conll.gz"))
    assert len(tokens) == 3394
    assert tokens[0][0] == "@paulwalk"
    assert {tag[:2] for row in tags for tag in row} == {"O", "B-", "I-"}
    assert len(tagged(read_table(data_folder / "wnut17" / "emerging.dev.conll.gz"))[0]) == 1009


def test_sst2_without_header(data_folder: Path) -> None:
    table = read_table(data_folder / "sst2" / "train.tsv", header=False)
    assert len(texts(table, "column_2")) == 6920
    assert Counter(labels(table, "column_1")).keys() == {"0", "1"}


def test_trec_lines(data_folder: Path) -> None:
    questions = texts(read_table(data_folder / "trec" / "train.txt"), "text")
    assert len(questions) == 5452
    assert questions[0] == "0 How did serfdom develop in and then leave Russia ?"


def test_accelerometers(data_folder: Path) -> None:
    found = series(
        read_table(data_folder / "hmp_accelerometer" / "hmp.jsonl.gz"), channels=["xyz"], label="label"
    )
    assert len(found.sequences) == 617
    assert found.channels == ["xyz_1", "xyz_2", "xyz_3"]
    assert found.sequences[0][:2].tolist() == [[22, 49, 35], [22, 49, 35]]
    assert len(set(found.labels or ())) == 14


def test_shakespeare_comes_back(data_folder: Path) -> None:
    text = read_text(data_folder / "tiny_shakespeare" / "input.txt")
    encoder = CharacterEncoder().fit([text])
    ids = encoder.encode(text)
    assert encoder.size == 65 + 2
    assert len(ids) == 1_115_394
    assert encoder.decode(ids) == text


def test_wikitext_has_the_published_number_of_tokens(data_folder: Path) -> None:
    # 217,646 tokens with one end a line: Merity et al. 2016, table 1.
    text = read_text(data_folder / "wikitext2" / "wiki.valid.tokens.gz")
    encoder = WordEncoder(whitespace=True, lowercase=False, end=True).fit([text])
    assert len(encoder.encode(text)) == 217_646
