"""Subject lines of e-mails (AESLC): ROUGE of a Summarizer beside what needs no model of language."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer

from benchmarks.tasks.harness import Benchmark, Outcome
from benchmarks.tasks.rouge import interval, means, rouge
from benchmarks.tasks.scoring import fitted
from benchmarks.tasks.sources import data_file
from storyline.tasks import Summarizer

TINY = 60
# Of the training mails, for choosing: the epoch, the length penalty, how many first words.
HELD_OUT = 500
# How many words of the body, and of how many of those of greatest weight, a baseline may take for the subject.
FIRST, HEAVIEST = (4, 8, 12, 16, 20, 30), (2, 3, 4, 6, 8)
PENALTIES = (0.0, 0.6, 1.0, 1.5)

SETTINGS: dict[str, Any] = {
    "hidden_size": 128,
    "embedding_size": 128,
    "lowercase": True,
    "source_limit": 80,
    "dropout": 0.3,
    "label_smoothing": 0.0,
    "beam": 4,
    "epochs": 5,
    "batch_tokens": 2000,
    "learning_rate": 0.003,
}
Mails = tuple[list[str], list[str]]


@cache
def mails(part: str) -> Mails:
    """(bodies, subjects)."""
    with gzip.open(data_file("aeslc", f"{part}.jsonl.gz"), "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [row["body"] for row in rows], [row["subject"] for row in rows]


@cache
def dialogues() -> Mails:
    """(dialogues, their topics in a word or two): other text than any that was learned from."""
    with gzip.open(data_file("dialogsum", "dev.jsonl.gz"), "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [row["dialogue"] for row in rows], [row["topic"] for row in rows]


def split(tiny: bool) -> tuple[Mails, Mails, Mails]:
    """Training mails without those held out, those, and the official dev part, on which results are."""
    bodies, subjects = mails("train")
    order = np.random.default_rng(0).permutation(len(bodies)).tolist()
    held, rest = (TINY // 2, TINY) if tiny else (HELD_OUT, len(order) - HELD_OUT)
    parts = [order[:held], order[held : held + rest]]
    held_out, training = (([bodies[row] for row in rows], [subjects[row] for row in rows]) for rows in parts)
    test = mails("dev")
    return training, held_out, (test[0][:TINY], test[1][:TINY]) if tiny else test


def first_words(bodies: Sequence[str], count: int) -> list[str]:
    """The beginning of each body."""
    return [" ".join(body.split()[:count]) for body in bodies]


def heaviest_words(weights: TfidfVectorizer, bodies: Sequence[str], count: int) -> list[str]:
    """The words of each body that are frequent in it and rare elsewhere, in their order there."""
    names, analyse = weights.get_feature_names_out(), weights.build_analyzer()
    found = []
    for row, body in zip(weights.transform(bodies), bodies, strict=True):
        heaviest = {names[column] for column in row.indices[np.argsort(-row.data)[:count]]}
        found.append(" ".join(word for word in dict.fromkeys(analyse(body)) if word in heaviest))
    return found


def baselines(tiny: bool) -> dict[str, float]:
    """ROUGE-1 on the test mails; how many words are taken is chosen on the held-out ones."""
    (bodies, subjects), (others, wanted), (test, right) = split(tiny)
    weights = TfidfVectorizer(sublinear_tf=True, min_df=1 if tiny else 2)
    known = weights.fit_transform(bodies)

    def score(summaries: list[str], references: list[str]) -> float:
        return means(rouge(references, summaries))["ROUGE-1"]

    first = max(FIRST, key=lambda count: score(first_words(others, count), wanted))
    heaviest = max(HEAVIEST, key=lambda count: score(heaviest_words(weights, others, count), wanted))
    nearest = (weights.transform(test) @ known.T).toarray().argmax(axis=1)
    talks, topics = dialogues()
    return {
        "first words of the body": score(first_words(test, first), right),
        "its words of greatest tf-idf": score(heaviest_words(weights, test, heaviest), right),
        "subject of the nearest training mail": score([subjects[row] for row in nearest], right),
        "DialogSum's topics by first words": score(first_words(talks, first), topics),
    }


def run(seed: int, tiny: bool) -> Outcome:
    """ROUGE-1 F1 in percent; its interval, ROUGE-2 and ROUGE-L, and DialogSum's topics among the details."""
    training, held_out, (test, right) = split(tiny)
    settings = SETTINGS
    if tiny:
        small = {
            "epochs": 1,
            "hidden_size": 8,
            "embedding_size": 8,
            "max_vocabulary": 400,
            "source_limit": 20,
        }
        settings = settings | small
    model = Summarizer(**settings, seed=seed, threads=torch.get_num_threads())
    model, seconds, parameters = fitted(model, *training, validation=held_out)

    def of(bodies: list[str], wanted: list[str], penalty: float) -> np.ndarray:
        return rouge(wanted, model.predict(bodies, length_penalty=penalty))

    penalty = max(PENALTIES, key=lambda each: means(of(*held_out, each))["ROUGE-1"])
    scores = of(test, right, penalty)
    low, high = interval(scores[:, 0])
    found = means(scores)
    talks, topics = dialogues()
    other = means(of(talks[:TINY], topics[:TINY], penalty) if tiny else of(talks, topics, penalty))
    details = {
        "ROUGE-2": found["ROUGE-2"],
        "ROUGE-L": found["ROUGE-L"],
        "lower bound, 95 %": low,
        "upper bound, 95 %": high,
        "length penalty": penalty,
        "held-out nats a token": model.training_summary_["best"]["loss"],
        "DialogSum's topics": other["ROUGE-1"],
    }
    return Outcome(found["ROUGE-1"], seconds, parameters, details)


BENCHMARKS = [
    Benchmark(
        name="aeslc",
        data=("aeslc", "dialogsum"),
        title="AESLC, the subject of an e-mail",
        metric="ROUGE-1 F1 on dev, %",
        must=lambda baselines, details: baselines["first words of the body"],
        aim=None,
        higher_is_better=True,
        baselines=baselines,
        run=run,
        model="bidirectional LSTM 128, additive attention, copying, byte-pairs",
    )
]
