"""UD English EWT: the part of speech of every word."""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import cache
from typing import Any

import torch
from nltk.tag.perceptron import PerceptronTagger

from benchmarks.record import DATA
from benchmarks.tasks.harness import Benchmark, Outcome
from benchmarks.tasks.scoring import fitted
from storyline import Tagger
from storyline.data import read_table, tagged

Split = tuple[list[list[str]], list[list[str]]]


@cache
def read(part: str) -> Split:
    """(sentences, UPOS tags); `part` is train or dev, the official split (the test part is not at hand)."""
    path = next((DATA / "ud_english_ewt").glob(f"*{part}*.conllu.gz"))
    return tagged(read_table(str(path)))


def read_few(part: str) -> Split:
    """A hundred sentences whose tags are among the frequent ones, so that few sentences know them all."""
    frequent = {"ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "NOUN", "PRON", "PROPN", "PUNCT", "VERB"}
    pairs = [pair for pair in zip(*read(part), strict=True) if set(pair[1]) <= frequent][:100]
    return [words for words, _ in pairs], [tags for _, tags in pairs]


def most_frequent_tag(train: Split, test: Split) -> float:
    """Accuracy in percent of each word's most frequent tag; an unknown word gets the most frequent tag of all."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for words, tags in zip(*train, strict=True):
        for word, tag in zip(words, tags, strict=True):
            counts[word][tag] += 1
    overall = sum(counts.values(), Counter[str]()).most_common(1)[0][0]
    best = {word: tags.most_common(1)[0][0] for word, tags in counts.items()}
    hits = [
        best.get(word, overall) == tag
        for words, tags in zip(*test, strict=True)
        for word, tag in zip(words, tags, strict=True)
    ]
    return 100 * sum(hits) / len(hits)


def perceptron(train: Split, test: Split, passes: int) -> float:
    """Accuracy in percent of NLTK's averaged perceptron (greedy, features of words, suffixes and previous tags)."""
    tagger = PerceptronTagger(load=False)
    tagger.train(
        [list(zip(words, tags, strict=True)) for words, tags in zip(*train, strict=True)], nr_iter=passes
    )
    hits = [
        found == tag
        for words, tags in zip(*test, strict=True)
        for (_, found), tag in zip(tagger.tag(words), tags, strict=True)
    ]
    return 100 * sum(hits) / len(hits)


def baselines(tiny: bool) -> dict[str, float]:
    source = read_few if tiny else read
    train, test = source("train"), source("dev")
    return {
        "most frequent tag": most_frequent_tag(train, test),
        "averaged perceptron": perceptron(train, test, 1 if tiny else 5),
    }


def tag(settings: dict[str, Any], seed: int, tiny: bool) -> Outcome:
    """Accuracy in percent on the dev part, which is only reported: the epochs are fixed, nothing is chosen on it."""
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
