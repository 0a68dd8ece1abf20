"""The next character of Shakespeare, the next word of WikiText-2; both beside a Kneser-Ney model on the same tokens."""

from __future__ import annotations

import gzip
import math
from functools import cache
from typing import Any

import numpy as np
import torch

from benchmarks.tasks.harness import Benchmark, Outcome
from benchmarks.tasks.kneser_ney import KneserNey
from benchmarks.tasks.scoring import fitted
from benchmarks.tasks.sources import data_file
from storyline import LanguageModel

TINY = 20_000


@cache
def shakespeare() -> tuple[str, str]:
    """(training, validation): the first 90 % of the characters and the last 10 %."""
    text = data_file("tiny_shakespeare", "input.txt").read_text(encoding="utf-8")
    cut = int(0.9 * len(text))
    return text[:cut], text[cut:]


@cache
def wikitext(part: str) -> str:
    """The official split; a line end is the token <eos>."""
    with gzip.open(data_file("wikitext2", f"wiki.{part}.tokens.gz"), "rt", encoding="utf-8") as file:
        return " ".join(line.strip() + " <eos>" for line in file)


def kneser_ney(train: list[str], test: list[str], order: int) -> float:
    """Nats per token over the training part's closed vocabulary; every token of the test must be in it."""
    ids = {token: number for number, token in enumerate(sorted(set(train)))}
    model = KneserNey(order, vocabulary=len(ids)).fit(np.array([ids[token] for token in train]))
    return model.cross_entropy(np.array([ids[token] for token in test if token in ids]))


def shakespeare_baseline(tiny: bool) -> dict[str, float]:
    train, test = shakespeare()
    if tiny:
        train, test = train[:TINY], test[:TINY]
    return {"6-gram Kneser-Ney": kneser_ney(list(train), list(test), 6)}


def wikitext_baseline(tiny: bool) -> dict[str, float]:
    train, test = wikitext("train").split(), wikitext("valid").split()
    if tiny:
        train, test = train[:TINY], test[:TINY]
    return {"5-gram Kneser-Ney": math.exp(kneser_ney(train, test, 5))}


def model_text(
    train: str, test: str, settings: dict[str, Any], seed: int, tiny: bool
) -> tuple[Outcome, float]:
    """(the outcome in nats per token, perplexity); the evaluated text is only reported: nothing is chosen on it."""
    if tiny:
        train, test = train[:TINY], test[: TINY // 4]
        settings = settings | {
            "epochs": 1,
            "hidden_size": 16,
            "embedding_size": 16,
            "batch_size": 4,
            "steps": 20,
        }
    model = LanguageModel(**settings, seed=seed, threads=torch.get_num_threads())
    model, seconds, parameters = fitted(model, train)
    result = model.evaluate(test)
    return Outcome(result["nats"], seconds, parameters, {"bits": result["bits"]}), result["perplexity"]


def shakespeare_run(seed: int, tiny: bool) -> Outcome:
    return model_text(*shakespeare(), CHARACTERS, seed, tiny)[0]


def wikitext_run(seed: int, tiny: bool) -> Outcome:
    outcome, perplexity = model_text(wikitext("train"), wikitext("valid"), WORDS, seed, tiny)
    return Outcome(perplexity, outcome.seconds, outcome.parameters, {"nats": outcome.value})


CHARACTERS: dict[str, Any] = {
    "level": "char",
    "hidden_size": 512,
    "embedding_size": 64,
    "dropout": 0.3,
    "batch_size": 16,
    "steps": 64,
    "epochs": 7,
    "learning_rate": 4e-3,
    "average": 0.998,
    "validation_fraction": 0.0,
}
WORDS: dict[str, Any] = {
    "level": "word",
    "whitespace": True,
    "lowercase": False,
    "hidden_size": 384,
    "embedding_size": 256,
    "dropout": 0.33,
    "batch_size": 64,
    "steps": 32,
    "epochs": 2,
    "learning_rate": 3e-3,
    "warmup": 0.02,
    "validation_fraction": 0.0,
}

BENCHMARKS = [
    Benchmark(
        name="shakespeare",
        data=("tiny_shakespeare",),
        title="tiny_shakespeare, next character",
        metric="validation nats per character",
        must=1.49,
        aim=1.44,
        higher_is_better=False,
        baselines=shakespeare_baseline,
        run=shakespeare_run,
        model="LSTM 512",
    ),
    Benchmark(
        name="wikitext2",
        data=("wikitext2",),
        title="WikiText-2, next word",
        metric="validation perplexity per word",
        must=lambda baselines, details: baselines["5-gram Kneser-Ney"],
        aim=110.0,
        higher_is_better=False,
        baselines=wikitext_baseline,
        run=wikitext_run,
        model="LSTM 384, tied 256, sampled softmax, word vectors from the training text",
    ),
]
