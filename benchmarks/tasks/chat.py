"""What is said next in DailyDialog, beside a Kneser-Ney model on the same tokens."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch

from benchmarks.tasks.harness import Benchmark, Outcome
from benchmarks.tasks.kneser_ney import KneserNey
from benchmarks.tasks.scoring import fitted
from benchmarks.tasks.sources import data_file
from storyline.data import TextEncoder, text_encoder
from storyline.tasks import Chatbot
from storyline.tasks.dialogues import encode_dialogues, written

TINY = 60
HELD_OUT = 300
ORDER = 5
# Shorter turns, such as "Thank you .", are everybody's.
TELLING = 5
RESAMPLES = 2000
Turns = list[list[str]]


@cache
def dialogues(part: str) -> Turns:
    """The official split, as it comes: tokenised by blanks, with what it holds twice."""
    with gzip.open(data_file("dailydialog", f"{part}.jsonl.gz"), "rt", encoding="utf-8") as file:
        return [json.loads(line)["turns"] for line in file]


@cache
def learned(tiny: bool) -> tuple[Turns, Turns]:
    """(training, held out to choose the weights), both of the official training part; no dialogue is in both."""
    given = dialogues("train")[:TINY] if tiny else dialogues("train")
    distinct = list(dict.fromkeys(map(tuple, given)))
    chosen = np.random.default_rng(0).permutation(len(distinct))[: 5 if tiny else HELD_OUT]
    held_out = [distinct[place] for place in chosen]
    apart = set(held_out)
    return [turns for turns in given if tuple(turns) not in apart], [list(turns) for turns in held_out]


def scored(tiny: bool) -> Turns:
    return dialogues("validation")[:TINY] if tiny else dialogues("validation")


@cache
def unseen(tiny: bool) -> np.ndarray:
    """Which of the scored dialogues are new, bool: of their turns of five words or more at most half are in training.

    DailyDialog's parts share whole dialogues, and variants of one.
    """
    known = {turn for turns in dialogues("train") for turn in turns}

    def new(turns: list[str]) -> bool:
        telling = [turn in known for turn in turns if len(turn.split()) >= TELLING]
        return 2 * sum(telling) <= len(telling)

    return np.array([new(turns) for turns in scored(tiny)])


@cache
def vocabulary(tiny: bool) -> TextEncoder:
    """The byte-pairs that the Chatbot learns from its training part."""
    size = settings(tiny)["max_vocabulary"]
    training, _ = learned(tiny)
    encoder = text_encoder("subword", min_count=2, max_size=size, end=True)
    return encoder.fit(written(turn) for turns in training for turn in turns)


def baselines(tiny: bool) -> dict[str, float]:
    """Perplexity of the n-gram model on all of the validation part, and on its new dialogues.

    It counts all of the training part, the held-out dialogues too. Before each dialogue stand as many tokens as it
    looks back on, of a kind of their own, that are not scored.
    """
    encoder = vocabulary(tiny)
    begin = np.full(ORDER - 1, encoder.size)

    def stream(turns: Turns) -> list[np.ndarray]:
        return [np.concatenate([begin, row[1:]]) for row in encode_dialogues(encoder, turns)]

    rows = stream(scored(tiny))
    model = KneserNey(ORDER, vocabulary=encoder.size + 1)
    model.fit(np.concatenate(stream([*learned(tiny)[0], *learned(tiny)[1]])))
    costs = [-model.log_probabilities(row)[ORDER - 1 :] for row in rows]
    return {
        "5-gram Kneser-Ney": perplexity(costs),
        "5-gram Kneser-Ney, new dialogues": perplexity(of_new(costs, tiny)),
    }


def of_new(costs: Sequence[np.ndarray], tiny: bool) -> list[np.ndarray]:
    """Of the costs of the scored dialogues, those of the new ones."""
    return [cost for cost, is_new in zip(costs, unseen(tiny), strict=True) if is_new]


def perplexity(costs: Sequence[np.ndarray]) -> float:
    """Of costs in nats a token: exp of their mean."""
    return math.exp(np.concatenate(costs).mean())


def interval(costs: Sequence[np.ndarray]) -> tuple[float, float]:
    """95 % of the perplexities of as many dialogues drawn with replacement (Efron's percentile bootstrap)."""
    totals, counts = (np.array([function(cost) for cost in costs]) for function in (np.sum, len))
    drawn = np.random.default_rng(0).integers(len(costs), size=(RESAMPLES, len(costs)))
    found = np.exp(totals[drawn].sum(1) / counts[drawn].sum(1))
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def run(seed: int, tiny: bool) -> Outcome:
    training, held_out = learned(tiny)
    model = Chatbot(**settings(tiny), seed=seed, threads=torch.get_num_threads())
    model, seconds, parameters = fitted(model, training, validation=held_out)
    if model.encoder_.to_document() != vocabulary(tiny).to_document():
        raise RuntimeError("the Chatbot and the n-gram model read different tokens; make their encoders one")
    costs = model.surprisal(scored(tiny))
    low, high = interval(costs)
    known = set(map(tuple, dialogues("train")))
    alone = model.surprisal(scored(tiny), alone=True)
    details = {
        "from": low,
        "to": high,
        "new dialogues": perplexity(of_new(costs, tiny)),
        "network alone": perplexity(alone),
        "network alone, new dialogues": perplexity(of_new(alone, tiny)),
        "dialogues": len(costs),
        "of them new": int(unseen(tiny).sum()),
        "of them word for word in training": sum(tuple(turns) in known for turns in scored(tiny)),
        "tokens": sum(map(len, costs)),
        "network alone, held-out dialogues": math.exp(model.training_summary_["best"]["loss"]),
    }
    return Outcome(perplexity(costs), seconds, parameters, details)


def settings(tiny: bool) -> dict[str, Any]:
    return DIALOGUES | ({"epochs": 1, "hidden_size": 16, "max_vocabulary": 500} if tiny else {})


DIALOGUES: dict[str, Any] = {
    "hidden_size": 384,
    "max_vocabulary": 6000,
    "phrases": 16,
    "dropout": 0.2,
    "batch_tokens": 1000,
    "epochs": 14,
    "learning_rate": 5e-3,
    "warmup": 0.02,
}

BENCHMARKS = [
    Benchmark(
        name="dailydialog",
        data=("dailydialog",),
        title="DailyDialog, next byte-pair of a dialogue",
        metric="validation perplexity per token",
        must=lambda baselines, details: baselines["5-gram Kneser-Ney"],
        aim=None,
        higher_is_better=False,
        baselines=baselines,
        run=run,
        model="LSTM 384, tied, sampled softmax, 6,000 byte-pairs, phrases of 16",
    ),
]
