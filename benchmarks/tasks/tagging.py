"""UD English EWT: the part of speech of every word."""

from __future__ import annotations

from functools import cache
from typing import Any, Protocol

import torch

from benchmarks.tasks.frequent_tag import MostFrequentTag
from benchmarks.tasks.harness import Benchmark, Outcome
from benchmarks.tasks.perceptron import AveragedPerceptron
from benchmarks.tasks.scoring import fitted
from benchmarks.tasks.sources import data_file
from storyline import Tagger
from storyline.data import read_table, tagged

Split = tuple[list[list[str]], list[list[str]]]


@cache
def read(part: str) -> Split:
    """(sentences, UPOS tags); `part` is train or dev, the official split (the test part is not used)."""
    path = data_file("ud_english_ewt", f"*{part}*.conllu.gz")
    return tagged(read_table(str(path)))


def read_few(part: str) -> Split:
    """A hundred sentences whose tags are among the frequent ones, so that few sentences know them all."""
    frequent = {"ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "NOUN", "PRON", "PROPN", "PUNCT", "VERB"}
    pairs = [pair for pair in zip(*read(part), strict=True) if set(pair[1]) <= frequent][:100]
    return [words for words, _ in pairs], [tags for _, tags in pairs]


class _Tagger(Protocol):
    def predict(self, words: list[str]) -> list[str]: ...


def accuracy(tagger: _Tagger, test: Split) -> float:
    """Percent of the words that get their tag."""
    hits = [
        found == tag
        for words, tags in zip(*test, strict=True)
        for found, tag in zip(tagger.predict(words), tags, strict=True)
    ]
    return 100 * sum(hits) / len(hits)


def baselines(tiny: bool) -> dict[str, float]:
    source = read_few if tiny else read
    train, test = source("train"), source("dev")
    return {
        "most frequent tag": accuracy(MostFrequentTag().fit(*train), test),
        "averaged perceptron": accuracy(AveragedPerceptron(1 if tiny else 5).fit(*train), test),
    }


def tag(settings: dict[str, Any], seed: int, tiny: bool) -> Outcome:
    """Accuracy in percent on the dev part, which also fixed the epochs: docs/results.md."""
    source = read_few if tiny else read
    train, test = source("train"), source("dev")
    if tiny:
        settings = settings | {"epochs": 1, "hidden_size": 16}
    model = Tagger(**settings, seed=seed, threads=torch.get_num_threads())
    model, seconds, parameters = fitted(model, *train)
    return Outcome(100 * model.score(*test), seconds, parameters)


RECIPE: dict[str, Any] = {"validation_fraction": 0.0, "epochs": 12, "average": 0.999}

BENCHMARKS = [
    Benchmark(
        name="ewt_pos",
        data=("ud_english_ewt",),
        title="UD English EWT, part of speech",
        metric="dev accuracy, %",
        must=94.8,
        aim=95.5,
        higher_is_better=True,
        baselines=baselines,
        run=lambda seed, tiny: tag(RECIPE, seed, tiny),
        model="characters and words, bidirectional LSTM",
    )
]
