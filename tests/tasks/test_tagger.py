"""Tagger: it reads words, spelling and neighbours, and refuses what it cannot use."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from learnable import after_a_digit

from storyline.data import read_table, tagged
from storyline.tasks import Tagger, load
from storyline.tasks.sentences import LONGEST_WORD

QUICK: dict[str, Any] = {
    "hidden_size": 16,
    "embedding_size": 8,
    "spelling_size": 16,
    "character_size": 8,
    "epochs": 8,
    "batch_size": 16,
    "learning_rate": 0.02,
    "dropout": 0.1,
    "validation_fraction": 0.0,
    "threads": 1,
}


@pytest.fixture(scope="module")
def trained() -> Tagger:
    return Tagger(**QUICK).fit(*after_a_digit(250))


@pytest.mark.parametrize(
    "settings", [{"core": "lstm"}, {"core": "gru", "bidirectional": False, "num_layers": 2}]
)
def test_learns_from_spelling_and_the_word_before(settings: dict[str, Any]) -> None:
    sentences, tags = after_a_digit(100, seed=1)
    model = Tagger(**QUICK | settings).fit(*after_a_digit(250))
    result = model.evaluate(sentences, tags)
    # Nearly all letter words are unknown: only their spelling, and the digit before, tell the tag.
    assert result["unknown"] > 0.5 * result["n"]
    assert result["accuracy"] > 0.95, result
    assert result["macro_f1"] > 0.95
    assert result["n"] == sum(map(len, sentences))
    assert result["sentences"] == 100
    assert sum(tag["n"] for tag in result["tags"].values()) == result["n"]
    right = sum(tag["right"] for tag in result["tags"].values())
    assert right / result["n"] == pytest.approx(result["accuracy"])
    assert model.score(sentences, tags) == result["accuracy"]


def test_predictions_do_not_depend_on_the_others(trained: Tagger) -> None:
    sentences, tags = after_a_digit(40, seed=2)
    together = trained.predict(sentences)
    assert [len(sentence) for sentence in together] == [len(sentence) for sentence in sentences]
    assert trained.predict(sentences[::-1]) == together[::-1]
    assert [trained.predict([sentence])[0] for sentence in sentences] == together
    assert trained.predict([]) == []
    agree = np.mean(
        [
            a == b
            for mine, theirs in zip(together, tags, strict=True)
            for a, b in zip(mine, theirs, strict=True)
        ]
    )
    assert agree == pytest.approx(trained.score(sentences, tags))


def test_saved_and_loaded_is_the_same(trained: Tagger, tmp_path) -> None:
    sentences, tags = after_a_digit(40, seed=2)
    trained.save_pretrained(tmp_path)
    loaded = load(tmp_path)
    assert isinstance(loaded, Tagger)
    assert loaded.evaluate(sentences, tags) == trained.evaluate(sentences, tags)
    assert loaded.predict(sentences) == trained.predict(sentences)
    assert loaded.tags_ == ["DIGIT", "NAME", "NEAR", "WORD"]


def test_stopped_and_resumed_is_the_same(tmp_path) -> None:
    examples = after_a_digit(60)
    settings = QUICK | {"epochs": 3, "validation_fraction": 0.1, "checkpoint_every": 3}
    whole = Tagger(**settings).fit(*examples)

    def stop(event: object) -> None:
        if getattr(event, "step", 0) >= 7:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        Tagger(**settings).fit(*examples, folder=tmp_path, events=[stop])
    resumed = Tagger(**settings).fit(*examples, folder=tmp_path, resume=True)
    for name, value in whole.network_.state_dict().items():
        assert torch.equal(value, resumed.network_.state_dict()[name]), name


def test_long_words_are_spelled_by_their_ends(trained: Tagger) -> None:
    half = LONGEST_WORD // 2
    word = "a" * half + "b" * 500 + "c" * half
    read = trained._read([[word], ["a" * half + "c" * half]])
    assert read.spelled.max() == LONGEST_WORD
    assert (read.letters[read.forms[0]] == read.letters[read.forms[1]]).all()


def test_the_validation_part_is_not_learned() -> None:
    sentences, tags = [["ab", "cd"]] * 10, [["X", "Y"]] * 10
    model = Tagger(**QUICK | {"epochs": 1}).fit(sentences, tags, validation=([["zz", "cd"]], [["X", "Y"]]))
    assert model.unknown_ == (1, 2)
    assert "z" not in model.characters_
    assert model.training_summary_["unknown_share"] == 0.5
    assert set(model.training_summary_["best"]) == {"accuracy", "loss"}


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        ([["a", "b"], []], [["X", "Y"], []], r"X\[1\] is an empty sentence"),
        ([["a", "b"]], [["X"]], r"X\[0\] has 2 words and y\[0\] 1 tags"),
        ([["a", "b"]], [], "1 sentences and y 0"),
        ([["a", "b"]], [["X", "X"]], "one tag, 'X'"),
        (["a b"], [["X", "Y"]], r"X\[0\] is a string"),
        ("a b", [["X", "Y"]], "one string"),
        ([["a", ""]], [["X", "Y"]], r"X\[0\]\[1\] is ''"),
        ([["a", "\ud800"]], [["X", "Y"]], r"X\[0\]\[1\] holds '\\ud800'.*surrogate"),
        ([["a", "b"]], [["X", "\ud800"]], r"y\[0\]\[1\] holds '\\ud800'.*surrogate"),
        ([], [], "X is empty"),
        ([["a", "b"]], None, "y is of the type NoneType"),
        ([["a", "b"], 3], [["X", "Y"]], r"X\[1\] is of the type int; give a list of words"),
    ],
)
def test_refuses_in_fit(X: Any, y: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Tagger(**QUICK).fit(X, y)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"spelling_size": 5}, "spelling_size=5; it must be a multiple of 2"),
        ({"max_vocabulary": 2}, "max_vocabulary=2; it must be 3 or more"),
    ],
)
def test_refuses_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Tagger(**QUICK | settings).fit([["a", "b"]], [["X", "Y"]])


def test_refuses_to_hold_out_what_is_not_there() -> None:
    with pytest.raises(ValueError, match="validation_fraction=0"):
        Tagger(**QUICK | {"validation_fraction": 0.1}).fit([["a", "b"]], [["X", "Y"]])
    with pytest.raises(ValueError, match=r"validation is of the type float; give a pair \(X, y\)"):
        Tagger(**QUICK).fit([["a", "b"]], [["X", "Y"]], validation=0.1)


def test_strings_of_numpy_are_strings() -> None:
    sentences, tags = ([np.array(part) for part in parts] for parts in after_a_digit(20))
    model = Tagger(**QUICK | {"epochs": 1}).fit(sentences, tags)
    assert {type(tag) for tag in model.predict(sentences[:1])[0]} == {str}
    # What can be read but once is enough.
    again = Tagger(**QUICK | {"epochs": 1}).fit(iter(sentences), iter(tags))
    assert again.evaluate(iter(sentences), iter(tags)) == model.evaluate(sentences, tags)


def test_refuses_an_unseen_tag(trained: Tagger) -> None:
    with pytest.raises(ValueError, match=r"y\[1\]: 'NAMES' was not seen in training"):
        trained.evaluate([["a"], ["B"]], [["WORD"], ["NAMES"]])
    with pytest.raises(ValueError, match="empty"):
        trained.evaluate([], [])


def test_memory_probe_measures_the_model(trained: Tagger) -> None:
    sentences, tags = after_a_digit(200, seed=3)
    probe = trained.memory_probe(sentences, tags, sample=150)
    assert (len(probe.inputs), probe.total, probe.unit) == (150, 200, "word")
    assert all(list(words) in sentences for words in probe.words)
    right = 0
    for row, words, wanted in zip(probe.inputs, probe.words, probe.targets, strict=True):
        assert tuple(row.shape) == (len(words), trained.network_.layer.input_size)
        scores = probe.model(row[None])[0]
        assert [trained.tags_[i] for i in scores.argmax(1)] == trained.predict([list(words)])[0]
        right += int((scores.argmax(1) == wanted).sum())
    assert right / sum(map(len, probe.inputs)) == pytest.approx(
        trained.score(
            list(map(list, probe.words)), [[trained.tags_[i] for i in row] for row in probe.targets]
        )
    )
    assert trained.memory_probe(after_a_digit(5)[0]).targets is None
    longest = max(len(sentence) for sentence in after_a_digit(250)[0])
    assert (probe.trained_steps, probe.chunk, probe.reset_every) == (longest, math.inf, math.inf)
    assert (probe.clip, len(probe.gradient_norms)) == (math.inf, 1)


@pytest.mark.data
def test_english_beats_the_most_frequent_tag(data_folder) -> None:
    folder = data_folder / "ud_english_ewt"
    (train,), (dev,) = folder.glob("*train*"), folder.glob("*dev*")
    sentences, tags = tagged(read_table(train))
    short = [row for row in range(len(sentences)) if len(sentences[row]) <= 12][:800]
    model = Tagger(
        hidden_size=32, spelling_size=32, embedding_size=32, epochs=10, threads=2, learning_rate=0.01
    )
    model.fit([sentences[row] for row in short], [tags[row] for row in short])
    result = model.evaluate(*(part[:200] for part in tagged(read_table(dev))))
    majority = max(tag["n"] for tag in result["tags"].values()) / result["n"]
    assert result["accuracy"] > max(0.6, 2 * majority), result
