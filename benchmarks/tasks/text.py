"""Short texts: the kind of a question (TREC), the sentiment of a sentence (SST-2)."""

from __future__ import annotations

import gzip
import json
from functools import cache
from typing import Any

import torch
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline

from benchmarks.tasks.harness import Benchmark, Outcome
from benchmarks.tasks.scoring import fitted
from benchmarks.tasks.sources import data_file
from storyline import Classifier

TINY = 200
Split = tuple[list[str], list[str]]


@cache
def read(folder: str, part: str) -> Split:
    """(texts, labels) of a file whose lines are a label, a blank or tab, and a tokenised text."""
    path = data_file(folder, f"{part}.t*")
    lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    pairs = [line.replace("\t", " ", 1).split(" ", 1) for line in lines]
    return [text for _, text in pairs], [label for label, _ in pairs]


@cache
def reviews() -> list[str]:
    """The text of the training part of IMDb, without its labels: other text, to learn word vectors from."""
    with gzip.open(data_file("imdb", "train.jsonl.gz"), "rt", encoding="utf-8") as file:
        return [json.loads(line)["text"].replace("<br />", " ") for line in file]


def bag_of_words(folder: str, tiny: bool) -> float:
    """Test accuracy in percent: bigram logistic regression for TREC, bigram naive Bayes for SST-2."""
    counts = CountVectorizer(ngram_range=(1, 2), binary=True, token_pattern=r"\S+")
    model = LogisticRegression(C=10, max_iter=1000) if folder == "trec" else MultinomialNB()
    texts, labels = read(folder, "train")
    if tiny:
        texts, labels = texts[:TINY], labels[:TINY]
    pipeline = make_pipeline(counts, model).fit(texts, labels)
    return 100 * float(pipeline.score(*read(folder, "test")))


def classify(folder: str, settings: dict[str, Any], seed: int, tiny: bool) -> Outcome:
    """Test accuracy in percent of a Classifier with word vectors from the reviews."""
    texts, labels = read(folder, "train")
    unlabelled: list[str] = reviews()
    validation = read(folder, "dev") if folder == "sst2" else None
    if tiny:
        texts, labels, unlabelled = texts[:TINY], labels[:TINY], unlabelled[:50]
        settings = settings | {"epochs": 1, "hidden_size": 8, "embedding_size": 16}
    model = Classifier(**settings, seed=seed, threads=torch.get_num_threads())
    model, seconds, parameters = fitted(model, texts, labels, unlabelled=unlabelled, validation=validation)
    result = model.evaluate(*read(folder, "test"))
    return Outcome(100 * result["accuracy"], seconds, parameters, {"unknown words": result["unknown"]})


RECIPE: dict[str, Any] = {"hidden_size": 128, "bidirectional": True, "pooling": "max", "embedding_size": 200}
# TREC has no validation part: its epochs are fixed. SST-2's weights are those of the best epoch on its dev part.
KINDS = RECIPE | {"epochs": 12, "validation_fraction": 0.0}
SENTIMENT = RECIPE | {"epochs": 6, "average": 0.995}

BENCHMARKS = [
    Benchmark(
        name="trec",
        data=("trec", "imdb"),
        title="TREC, the kind of a question",
        metric="test accuracy, %",
        must=90.0,
        aim=92.0,
        higher_is_better=True,
        baselines=lambda tiny: {"bigram logistic regression": bag_of_words("trec", tiny)},
        run=lambda seed, tiny: classify("trec", KINDS, seed, tiny),
        model="bidirectional LSTM 128, max-pooling, word vectors from the text of IMDb",
    ),
    Benchmark(
        name="sst2",
        data=("sst2", "imdb"),
        title="SST-2, the sentiment of a sentence",
        metric="test accuracy, %",
        must=83.0,
        aim=84.5,
        higher_is_better=True,
        baselines=lambda tiny: {"bigram naive Bayes": bag_of_words("sst2", tiny)},
        run=lambda seed, tiny: classify("sst2", SENTIMENT, seed, tiny),
        model="bidirectional LSTM 128, max-pooling, word vectors from the text of IMDb",
    ),
]
