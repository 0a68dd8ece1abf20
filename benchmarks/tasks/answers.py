"""Questions about texts: bAbI's stories, answered in words; SQuAD's articles, answered by a span of them."""

from __future__ import annotations

import gzip
import io
import json
import re
import zipfile
from collections import Counter
from functools import cache
from typing import Any

import numpy as np
import torch

from benchmarks.tasks.harness import Benchmark, Outcome
from benchmarks.tasks.scoring import fitted
from benchmarks.tasks.sliding_window import sliding_window
from benchmarks.tasks.sources import data_file
from storyline.tasks import Answerer
from storyline.tasks.answer_scoring import answer_scores

# Those of the twenty tasks whose training and test files there are.
BABI = (1, 2, 5, 6, 7, 8, 10, 11, 12, 13, 14, 16, 18, 19, 20)
SOLVED = 95.0  # per cent, as Weston et al. 2015 count a task as solved
TINY = 20
# Contexts, questions and right answers.
Rows = tuple[list[str], list[str], list[Any]]


@cache
def babi(task: int, part: str) -> Rows:
    """The questions of a task, each with the story up to it; the supporting facts that the file names are not read."""
    with zipfile.ZipFile(data_file("babi", "babi_en10k.zip")) as folder:
        (name,) = (each for each in folder.namelist() if re.search(rf"qa{task}_.*_{part}\.txt$", each))
        lines = io.TextIOWrapper(folder.open(name), encoding="utf-8").read().splitlines()
    rows: Rows = [], [], []
    story: list[str] = []
    for line in lines:
        number, text = line.split(" ", 1)
        if number == "1":
            story = []
        if "\t" not in text:
            story.append(text.strip())
            continue
        question, answer, _ = text.split("\t")
        for column, value in zip(rows, (" ".join(story), question.strip(), answer), strict=True):
            column.append(value)
    return rows


def held_out(rows: Rows, share: float = 0.1) -> tuple[Rows, Rows]:
    """(the rest, the end of the rows): stories follow each other, so the end holds stories of its own but for one."""
    cut = round(len(rows[0]) * (1 - share))
    return tuple(column[:cut] for column in rows), tuple(column[cut:] for column in rows)  # type: ignore[return-value]


def joined(parts: list[Rows]) -> Rows:
    return tuple([value for part in parts for value in part[place]] for place in range(3))  # type: ignore[return-value]


def exact_percent(answers: list[str], right: list[str]) -> float:
    """Word for word and in order, as bAbI counts; blanks and capitals apart, which the model does not write."""
    pairs = zip(answers, right, strict=True)
    return 100 * float(np.mean([found.replace(" ", "").lower() == answer.lower() for found, answer in pairs]))


def most_frequent(tiny: bool) -> dict[str, float]:
    """Test accuracy in per cent, the mean of the tasks, of always giving a task's most frequent training answer."""
    values = []
    for task in BABI[:2] if tiny else BABI:
        ((answer, _),) = Counter(babi(task, "train")[2]).most_common(1)
        values.append(100 * float(np.mean([right == answer for right in babi(task, "test")[2]])))
    return {"most frequent answer": float(np.mean(values))}


def babi_run(seed: int, tiny: bool) -> Outcome:
    """One model of all tasks together; weights are chosen on the last tenth of each task's training part."""
    tasks, settings = BABI, STORIES
    if tiny:
        tasks, settings = BABI[:2], STORIES | {"epochs": 1, "hidden_size": 8}
    parts = [held_out(_first(babi(task, "train"), tiny)) for task in tasks]
    model = Answerer(**settings, seed=seed, threads=torch.get_num_threads())
    model, seconds, parameters = fitted(
        model, *joined([rest for rest, _ in parts]), validation=joined([end for _, end in parts])
    )
    found = {}
    for task in tasks:
        contexts, questions, answers = _first(babi(task, "test"), tiny)
        found[f"task {task}"] = exact_percent(model.predict(contexts, questions), answers)
    values = list(found.values())
    details = {"solved": float(sum(value >= SOLVED for value in values))} | found
    return Outcome(float(np.mean(values)), seconds, parameters, details)


@cache
def squad() -> dict[str, Rows]:
    """By article: contexts, questions, and the answers of all annotators."""
    with gzip.open(data_file("squad11_dev", "squad_36_articles.json.gz"), "rt", encoding="utf-8") as file:
        articles = json.load(file)["data"]
    found: dict[str, Rows] = {}
    for article in articles:
        rows: Rows = [], [], []
        for paragraph in article["paragraphs"]:
            for asked in paragraph["qas"]:
                right = [answer["text"] for answer in asked["answers"]]
                for column, value in zip(rows, (paragraph["context"], asked["question"], right), strict=True):
                    column.append(value)
        found[article["title"]] = rows
    return found


def articles(part: str, tiny: bool) -> dict[str, Rows]:
    """The articles of a part, in the order of the alphabet: 6 of the 36 test, 3 choose the weights, 27 train."""
    titles = sorted(squad())
    parts = {"test": titles[4::6], "validation": titles[1::12]}
    parts["train"] = [title for title in titles if title not in parts["test"] + parts["validation"]]
    chosen = parts[part]
    return {title: _first(squad()[title], tiny) for title in (chosen[:2] if tiny else chosen)}


def window_baseline(tiny: bool) -> dict[str, float]:
    """Test F1 in per cent."""
    contexts, questions, answers = joined(list(articles("test", tiny).values()))
    found = [sliding_window(*pair) for pair in zip(contexts, questions, strict=True)]
    exact, f1 = 100 * answer_scores(found, answers).mean(axis=0)
    return {"sliding window": float(f1), "sliding window, exact match": float(exact)}


def squad_run(seed: int, tiny: bool) -> Outcome:
    """Test F1 in per cent, with the interval of a bootstrap over the test articles."""
    settings: dict[str, Any] = SPANS
    unlabelled: list[str] | None = wikipedia()
    if tiny:
        settings = SPANS | {
            "epochs": 1,
            "hidden_size": 8,
            "embedding_size": 8,
            "spelling_size": 4,
            "num_layers": 1,
        }
        unlabelled = None
    model = Answerer(**settings, seed=seed, threads=torch.get_num_threads())
    training, validation = (joined(list(articles(part, tiny).values())) for part in ("train", "validation"))
    model, seconds, parameters = fitted(model, *training, validation=validation, unlabelled=unlabelled)
    scores = []
    for contexts, questions, answers in articles("test", tiny).values():
        scores.append(100 * answer_scores(model.predict(contexts, questions), answers))
    exact, f1 = np.concatenate(scores).mean(axis=0)
    low, high = bootstrap([each[:, 1] for each in scores])
    details = {
        "exact match": float(exact),
        "F1 low": low,
        "F1 high": high,
        "questions": float(sum(map(len, scores))),
        "training questions": float(len(training[0])),
    }
    return Outcome(float(f1), seconds, parameters, details)


def bootstrap(groups: list[np.ndarray], draws: int = 2000) -> tuple[float, float]:
    """The 95 % interval of the mean over all values, when whole groups are drawn again with replacement."""
    sums = np.array([group.sum() for group in groups])
    sizes = np.array([len(group) for group in groups])
    drawn = np.random.default_rng(0).integers(len(groups), size=(draws, len(groups)))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


@cache
def wikipedia() -> list[str]:
    """The training text of WikiText-2, other articles of Wikipedia: word vectors are learned from it, too."""
    with gzip.open(data_file("wikitext2", "wiki.train.tokens.gz"), "rt", encoding="utf-8") as file:
        lines = (line.replace(" @-@ ", "-").replace(" @,@ ", ",").replace(" @.@ ", ".") for line in file)
        return [line.strip() for line in lines if len(line.split()) > 5]


def _first(rows: Rows, tiny: bool) -> Rows:
    return tuple(column[:TINY] for column in rows) if tiny else rows  # type: ignore[return-value]


STORIES: dict[str, Any] = {
    "mode": "generate",
    "core": "gru",
    "hidden_size": 64,
    "hops": 3,
    "batch_size": 64,
    "learning_rate": 3e-3,
    "dropout": 0.05,
    "epochs": 24,
}
SPANS: dict[str, Any] = {
    "mode": "span",
    "hidden_size": 96,
    "num_layers": 2,
    "epochs": 9,
}

BENCHMARKS = [
    Benchmark(
        name="babi",
        data=("babi",),
        title="bAbI 10k, 15 tasks, one model of all",
        metric="mean test accuracy of the tasks, %",
        must=65.0,
        aim=100.0,
        higher_is_better=True,
        baselines=most_frequent,
        run=babi_run,
        model="GRU 64 over words and over sentences, 3 hops, GRU decoder",
    ),
    Benchmark(
        name="squad",
        data=("squad11_dev", "wikitext2"),
        title="SQuAD 1.1, 36 articles, by article",
        metric="test F1, %",
        must=lambda baselines, details: baselines["sliding window"],
        aim=40.0,
        higher_is_better=True,
        baselines=window_baseline,
        run=squad_run,
        model="bidirectional LSTM 96, two layers, question attention, spelling",
    ),
]
