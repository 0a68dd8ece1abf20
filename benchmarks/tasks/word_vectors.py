"""What word vectors are worth where labels are few: SST-2's test sentences after 500 labelled ones."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline

from benchmarks.tasks.harness import Benchmark, Outcome
from benchmarks.tasks.scoring import fitted
from benchmarks.tasks.text import Split, read, reviews
from storyline import Classifier
from storyline.tasks import WordVectors

LABELLED = 500
SEEDS = (0, 1, 2)
# Chosen on SST-2's dev part, of 12 and 20 epochs.
SETTINGS: dict[str, Any] = {
    "hidden_size": 128,
    "embedding_size": 200,
    "epochs": 20,
    "validation_fraction": 0.0,
}


@cache
def vectors(tiny: bool) -> WordVectors:
    """Skip-gram vectors of the text of IMDb's training part; on one thread, so that they are the same each time."""
    texts = reviews()[:100] if tiny else reviews()
    size = 16 if tiny else SETTINGS["embedding_size"]
    return WordVectors(embedding_size=size, epochs=1 if tiny else 3).fit(texts)


def few(seed: int) -> Split:
    """`LABELLED` sentences of the training part, others for each seed, and their labels."""
    texts, labels = read("sst2", "train")
    rows = np.random.default_rng(seed).permutation(len(texts))[:LABELLED]
    return [texts[row] for row in rows], [labels[row] for row in rows]


def accuracy(seed: int, given: WordVectors | None, tiny: bool, *, freeze: bool = False) -> Outcome:
    """Test accuracy in percent of a Classifier that starts from `given`, or at random."""
    settings = SETTINGS | {"freeze_vectors": freeze}
    if tiny:
        settings |= {"epochs": 1, "hidden_size": 8, "embedding_size": 16}
    model = Classifier(**settings, seed=seed, threads=torch.get_num_threads())
    model, seconds, parameters = fitted(model, *few(seed), vectors=given)
    result = model.evaluate(*read("sst2", "test"))
    known = {"words with a vector, %": 100 * model.training_summary_.get("given_vectors_share", 0.0)}
    return Outcome(100 * result["accuracy"], seconds, parameters, known)


def baselines(tiny: bool) -> dict[str, float]:
    """The mean of seeds 0 to 2: bigram naive Bayes on the same sentences, and the same model from random vectors."""
    seeds = SEEDS[:1] if tiny else SEEDS
    counts = CountVectorizer(ngram_range=(1, 2), binary=True, token_pattern=r"\S+")
    bayes = [
        make_pipeline(counts, MultinomialNB()).fit(*few(seed)).score(*read("sst2", "test")) for seed in seeds
    ]
    random = [accuracy(seed, None, tiny).value for seed in seeds]
    return {
        "bigram naive Bayes": 100 * float(np.mean(bayes)),
        "the same model from random vectors": float(np.mean(random)),
    }


def run(seed: int, tiny: bool) -> Outcome:
    """Tuned from the vectors; frozen ones beside them among the details."""
    given = vectors(tiny)
    outcome = accuracy(seed, given, tiny)
    frozen = accuracy(seed, given, tiny, freeze=True)
    return Outcome(
        outcome.value, outcome.seconds, outcome.parameters, outcome.details | {"frozen": frozen.value}
    )


BENCHMARKS = [
    Benchmark(
        name="sst2_of_500",
        data=("sst2", "imdb"),
        title="SST-2, from 500 labelled sentences",
        metric="test accuracy, %",
        must=lambda baselines, details: max(baselines.values()),
        aim=None,
        higher_is_better=True,
        baselines=baselines,
        run=run,
        model="bidirectional LSTM 128, max-pooling, starts from skip-gram vectors of the text of IMDb",
    ),
]
