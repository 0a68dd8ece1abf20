"""The sets of grammar as they are published, the rule of what can be decided, and the judges; a run at a tiny size."""

from __future__ import annotations

import csv
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from benchmarks.memory import __main__, agreement
from benchmarks.memory.agreement_judges import (
    bootstrap,
    frequency,
    n_gram,
    published_frequency,
    score,
    wilson,
)
from benchmarks.memory.agreement_sets import Pair, blimp, commonest_casing, gulordava, linzen, tokens
from benchmarks.tasks.kneser_ney import KneserNey
from benchmarks.tasks.sources import MissingDataError
from scipy.stats import binomtest

from benchmarks import record


def pair(right: str, wrong: str, context: str = "") -> Pair:
    return Pair(tuple(context.split()), tuple(right.split()), tuple(wrong.split()), ("all",), "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Who isn't Ann's ex-wife?", "Who isn 't Ann 's ex @-@ wife ?"),
        ("they do n't , it 's `` so ''", "they don 't , it 's \" so \""),
        ("50,000 of 3.5.", "50 @,@ 000 of 3 @.@ 5 ."),
        ("the boys' cat", "the boys ' cat"),
    ],
)
def test_the_tokens_of_wikitext(text: str, expected: str) -> None:
    assert tokens(text) == expected.split()


def test_what_can_be_decided() -> None:
    known = {"is", "are", "not", "."}
    assert pair("is .", "are .").decidable(known)
    assert not pair("is", "seem").decidable(known)
    assert pair("Bob is", "Bob are").decidable(known)  # both share what is unknown
    assert pair("is Bob .", "Bob is .").decidable(known)  # another order
    assert not pair("Bob Ann", "Ann Bob").decidable(known)  # both <unk> <unk>


@pytest.mark.data
def test_the_sets_are_read_whole(data_folder: Path) -> None:
    found = list(linzen({"The": 9, "the": 90, "England": 2}))
    # The number of sentences with 0 to 4 attractors.
    groups = [p.groups[1] for p in found]
    assert [groups.count(name) for name in sorted(set(groups))] == [1972, 1957, 1943, 1287, 330]
    assert len({p.groups[-1] for p in blimp()}) == 59
    assert [len(list(gulordava(kind))) for kind in ("original", "generated")] == [41, 369]


@pytest.mark.data
def test_the_frequencies_of_the_publishers_reach_what_they_published(data_folder: Path) -> None:
    """Gulordava et al. 2018, table 2, English: 65.9 and 42.5 percent."""
    for kind, expected in (("original", 65.9), ("generated", 42.5)):
        margins = published_frequency(list(gulordava(kind)))
        assert 100 * float(np.mean(margins > 0)) == pytest.approx(expected, abs=0.05)


def test_casing_is_that_of_training() -> None:
    assert commonest_casing({"May": 3, "may": 9, "US": 4, "us": 4}) == {"may": "may", "us": "US"}


def test_judges_prefer_what_training_saw() -> None:
    text = ("<eos> the cat is here <eos> the cats are here " * 6 + "<eos> the cat is <unk>").split()
    counts = {word: text.count(word) for word in text}
    pairs = [
        pair("is here", "are here", "the cat"),
        pair("are", "is", "the cats"),
        pair("here is", "is here"),
    ]
    # is stands 7 times there and are 6.
    np.testing.assert_allclose(frequency(counts)(pairs), [math.log(7 / 6), math.log(6 / 7), 0], atol=1e-8)
    ids = {word: number for number, word in enumerate(sorted(counts))}
    model = KneserNey(3, vocabulary=len(ids)).fit(np.array([ids[word] for word in text]))
    margins = n_gram(model, ids)(pairs)
    assert margins[0] > 0
    assert margins[1] > 0
    history = np.array([ids[word] for word in ("<eos>", "the", "cats")])
    expected = np.log(model.probabilities(history))
    assert margins[1] == pytest.approx(expected[ids["are"]] - expected[ids["is"]])


def test_intervals() -> None:
    for right, n in ((0, 7), (30, 41), (7000, 7489), (5, 5)):
        known = binomtest(right, n).proportion_ci(method="wilson")
        assert wilson(right / n, n) == pytest.approx((known.low, known.high), abs=1e-9)
    # Clusters that agree within themselves count as one draw each: nearly Wald's interval of 100 draws.
    points = np.repeat(np.arange(100) % 5 > 0, 9).astype(float)
    low, high = bootstrap(points, np.repeat(np.arange(100), 9))
    half = 1.96 * math.sqrt(0.8 * 0.2 / 100)
    assert (low, high) == pytest.approx((0.8 - half, 0.8 + half), abs=0.015)


def test_undecided_pairs_are_counted() -> None:
    margins, decidable = np.array([1.0, -1.0, 2.0, 3.0, 0.0]), np.array([True, True, True, False, True])
    found = score(margins, decidable, ["a", "b", "c", "d", "e"])
    assert (found.pairs, found.decided, found.interval) == (5, 4, "Wilson")
    assert found.accuracy == pytest.approx(62.5)  # 2.5 of 4, with the tie
    assert found.accuracy_all == pytest.approx(60)  # 3 of 5
    assert found.accuracy_least == pytest.approx(50)  # 2.5 of 5
    few = score(margins, decidable, ["a", "a", "c", "d", "e"])
    assert few.interval == "Wilson, sentences as draws: 3"
    assert found.high is not None
    assert few.high is not None
    assert few.high > found.high
    many = score(np.ones(24), np.ones(24, dtype=bool), [str(place // 2) for place in range(24)])
    assert many.interval == "bootstrap over 12 sentences"
    none = score(margins[:2], np.array([False, False]), ["a", "b"])
    assert (none.accuracy, none.interval, none.accuracy_all) == (None, "none: no pair is decided", 50)


@pytest.mark.data
def test_runs_at_a_tiny_size(
    data_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(agreement, "RESULTS", tmp_path / "agreement.csv")
    command = ["memory", "agreement", "--tiny", "--cores", "lstm", "--model", str(tmp_path / "models")]
    said = []
    for _ in range(2):  # the second time the model is read
        monkeypatch.setattr(sys, "argv", command)
        assert __main__.main() == 0
        said.append(capsys.readouterr().out)
    tables = [[line for line in text.splitlines() if line.startswith("| ")] for text in said]
    assert tables[0] == tables[1]
    assert any(line.startswith("| BLiMP | phenomenon: binding | ") for line in tables[0])
    assert tables[0][0].endswith("| 5-gram Kneser-Ney | LSTM 16, seed 0 |")
    assert not (tmp_path / "agreement.csv").exists()
    monkeypatch.setattr(sys, "argv", [arg for arg in command if arg != "--tiny"])
    with pytest.raises(ValueError, match=r"was trained with .*=.*, and this benchmark sets"):
        agreement.trained("", "lstm", 0, tmp_path / "models" / "lstm-0", tiny=False)


def test_no_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(record, "DATA", tmp_path)
    with pytest.raises(MissingDataError, match=r"no .*blimp/blimp\.jsonl\.gz; put it there, from https://"):
        list(blimp())


def test_every_row_says_where_it_comes_from() -> None:
    with agreement.RESULTS.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["set"] for row in rows} == {"Linzen", "Gulordava, original", "Gulordava, nonce", "BLiMP"}
    for row in rows:
        assert row["machine"]
        assert row["commit"]
        assert not row["commit"].endswith("+"), f"{row['judge']}: measured on code that is not committed"
        # Nothing is dropped: what is undecided is between the two ways of counting it.
        undecided = int(row["pairs"]) - int(row["decided"])
        between = float(row["undecided_half_percent"]) - float(row["undecided_wrong_percent"])
        assert between == pytest.approx(50 * undecided / int(row["pairs"]), abs=0.011)
