"""The bag of words: what a reader gets right that counts words and is blind to their order."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from storyline.stories.examples import Examples
from storyline.stories.scoring import Reader
from storyline.stories.story import Story

MODELS = ("logistic", "bayes")


def bag_counts(examples: Examples) -> Any:
    """(questions, features) sparse: how often each word was read up to a question; of real inputs, their sums.

    The word at the question is counted once more, in columns of its own: it says which digit is asked for.
    """
    from scipy.sparse import csr_matrix

    rows, columns, values = [], [], []
    width = len(examples.vocabulary) if examples.tokens is not None else 0
    for question, (row, step) in enumerate(zip(examples.question_rows, examples.question_steps, strict=True)):
        if examples.tokens is not None:
            words, counts = np.unique(examples.tokens[row, : step + 1], return_counts=True)
            words, counts = np.append(words, width + examples.tokens[row, step]), np.append(counts, 1)
        else:
            assert examples.values is not None
            counts = examples.values[row, : step + 1].sum(0)
            words, width = np.arange(len(counts)), len(counts)
        rows.append(np.full(len(words), question))
        columns.append(words)
        values.append(counts)
    shape = (len(examples.question_rows), 2 * width)
    entries = (np.concatenate(values).astype(np.float64), (np.concatenate(rows), np.concatenate(columns)))
    return csr_matrix(entries, shape=shape)


def bag_of_words(
    story: Story, model: str = "logistic", *, n: int = 1_000, distance: int | None = None
) -> Reader:
    """Train scikit-learn's logistic regression or multinomial naive Bayes on the counts of `n` training examples.

    Ask at the distance that it was trained at, and not far away: there the filling drowns the few names that tell
    which answers are possible at all, and it falls below chance. A story whose answer is a number is read by a linear
    regression. Raises ValueError for another model, and for naive Bayes on real inputs, which may be negative.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.naive_bayes import MultinomialNB

    if model not in MODELS:
        raise ValueError(f"{model!r} is no bag of words; choose from {', '.join(MODELS)}")
    if story.channels and model == "bayes":
        raise ValueError(f"{story.name} has real inputs, which naive Bayes cannot count; use 'logistic'")
    examples = story.batch(n, "train", distance=distance)
    if not story.classes:
        line = LinearRegression().fit(bag_counts(examples).toarray(), examples.numbers)
        return lambda asked: np.asarray(line.predict(bag_counts(asked).toarray()))
    classifier: Any = MultinomialNB() if model == "bayes" else LogisticRegression(C=0.1, max_iter=50)
    with warnings.catch_warnings():
        # Fifty steps do: a bag that knew the answer would show it long before.
        warnings.simplefilter("ignore", ConvergenceWarning)
        classifier.fit(bag_counts(examples), examples.answers)
    return lambda asked: np.asarray(classifier.predict(bag_counts(asked)))
