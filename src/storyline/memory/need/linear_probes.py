"""Linear probes of a context: its last steps, the steps that tell the most, and averages of what lies further back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from storyline.memory.measures.curve import Array
from storyline.memory.need.need_questions import NeedQuestions

# Ridge penalties as a share of the variance of a standardised feature.
PENALTIES = (1e-6, 1e-3, 3e-2, 1.0)
# Features of "recent" and of "picked": what a few thousand answers can fit in a moment.
_RECENT, _PICKED = 256, 24
# Tokens told apart; products of channels are added for so many channels.
_TOKENS, _PRODUCTS = 48, 6
KINDS = ("recent", "picked", "pooled")


@dataclass(frozen=True, eq=False)
class StepFeatures:
    """Features of single steps, so that any context's are gathered by index.

    values   (sequences, pad + time, features), 0 before a sequence begins; 0 is the mean of the fitted part
    sums     cumulative over time, (sequences, pad + time + 1, features)
    pad      steps of 0 in front, the longest context
    """

    values: Array
    sums: Array
    pad: int

    def lagged(self, questions: NeedQuestions, lags: NDArray[np.int64]) -> Array:
        """(questions, lags, features): the step so many before each question's own."""
        found: Array = self.values[questions.row[:, None], (questions.step + self.pad)[:, None] - lags]
        return found

    def mean(self, questions: NeedQuestions, first: int, last: int) -> Array:
        """(questions, features): the sum over lags first ... last - 1 by the root of their number.

        Its variance is 1 where steps are white, so that one penalty serves all lengths.
        """
        end = questions.step + self.pad + 1
        total = self.sums[questions.row, end - first] - self.sums[questions.row, end - last]
        found: Array = total / np.sqrt(last - first)
        return found


def step_features(questions: NeedQuestions, fitted: NDArray[np.bool_]) -> StepFeatures:
    """Standardised channels, with their squares and products where they are few; tokens one-hot.

    Args:
        questions: what is asked.
        fitted: (sequences,) those that scale and vocabulary are taken from.
    """
    rows, pad = questions.rows, questions.longest
    made = _one_hot(rows, fitted) if rows[0].ndim == 1 else _channels(rows, fitted)
    time = max(len(row) for row in rows)
    values = np.zeros((len(rows), pad + time, made[0].shape[1]))
    for place, each in zip(values, made, strict=True):
        place[pad : pad + len(each)] = each
    sums = np.concatenate([np.zeros_like(values[:, :1]), values.cumsum(1)], 1)
    return StepFeatures(values, sums, pad)


def _channels(rows: tuple[NDArray[Any], ...], fitted: NDArray[np.bool_]) -> list[Array]:
    known = np.concatenate([row for row, take in zip(rows, fitted, strict=True) if take])
    mean, spread = known.mean(0), known.std(0)
    spread = np.where(spread > 0, spread, 1.0)

    def grown(row: Array) -> Array:
        scaled: Array = (row - mean) / spread
        if row.shape[1] > _PRODUCTS:
            return scaled
        first, second = np.triu_indices(row.shape[1])
        return np.concatenate([scaled, scaled[:, first] * scaled[:, second]], 1)

    centre = grown(known).mean(0)
    scale = grown(known).std(0)
    keep = scale > 1e-9
    return [(grown(row) - centre)[:, keep] / scale[keep] for row in rows]


def _one_hot(rows: tuple[NDArray[Any], ...], fitted: NDArray[np.bool_]) -> list[Array]:
    known = np.concatenate([row for row, take in zip(rows, fitted, strict=True) if take])
    names, counts = np.unique(known, return_counts=True)
    kept = np.sort(names[np.argsort(-counts, kind="stable")[:_TOKENS]])
    share = (known[:, None] == kept).mean(0)
    return [((row[:, None] == kept) - share) / np.sqrt(share * (1 - share) + 1e-9) for row in rows]


class LinearProbes:
    """Fitted on some questions, scored on the others, for any context of k steps.

    recent   ridge on the last steps one by one, and on averages over [R, 2 R), [2 R, 4 R) ... of what lies before
    picked   ridge on those (lag, feature) that correlate most with the target on the fitted part
    pooled   ridge on averages over the lags [1, 2), [2, 4), [4, 8) ... and over all of the context

    Real targets: squared error in units of the target's variance. Classes: ridge on their indicators, and a logistic
    regression on what it says of each question without that question (leave-one-out), log loss in nats.
    """

    def __init__(self, questions: NeedQuestions, fitted: NDArray[np.bool_]) -> None:
        self.questions = questions
        self.features = step_features(questions, fitted)
        self.fit = fitted[questions.row]
        self.goal = goal_of(questions, self.fit)
        self.order = self._correlations()

    @property
    def names(self) -> list[str]:
        """Of the candidates, in the order of `losses`."""
        return [f"{kind}, ridge {penalty:g}" for kind in KINDS for penalty in PENALTIES]

    def losses(self, k: int) -> Array:
        """(candidates, held-out questions): the loss with a context of k steps."""
        return np.concatenate([self._of(self._design(kind, k)) for kind in KINDS])

    def _design(self, kind: str, k: int) -> Array:
        size = self.features.values.shape[2]
        if kind == "picked":
            return self._picked(k)
        near = min(k, max(1, _RECENT // size)) if kind == "recent" else min(k, 1)
        parts = [self.features.lagged(self.questions, np.arange(near)).reshape(len(self.fit), -1)]
        edge = near
        while edge < k:
            parts.append(self.features.mean(self.questions, edge, min(2 * edge, k)))
            edge *= 2
        if k > 1:
            parts.append(self.features.mean(self.questions, 0, k))
        return np.concatenate(parts, 1)

    def _correlations(self) -> Array:
        """(lags, features): how much each tells of the target alone, on the fitted part."""
        fit, goal = self.fit, self.goal[self.fit] - self.goal[self.fit].mean(0)
        found = []
        for start in range(0, self.questions.longest, 64):
            lags = np.arange(start, min(start + 64, self.questions.longest))
            block = self.features.lagged(self.questions, lags)[fit].reshape(int(fit.sum()), -1)
            block = block - block.mean(0)
            scale = np.sqrt(np.square(block).sum(0))
            told = np.abs(block.T @ goal).max(1) / np.where(scale > 1e-9, scale, np.inf)
            found.append(told.reshape(len(lags), -1))
        return np.concatenate(found)

    def _picked(self, k: int) -> Array:
        told = self.order[:k]
        best = np.argsort(-told.ravel(), kind="stable")[:_PICKED]
        lags, features = np.unravel_index(best, told.shape)
        questions = self.questions
        places = (questions.step + self.features.pad)[:, None] - lags
        found: Array = self.features.values[questions.row[:, None], places, features]
        return found

    def _of(self, design: Array) -> Array:
        known = design[self.fit]
        centre = known.mean(0)
        known, asked = known - centre, design[~self.fit] - centre
        goal = self.goal[self.fit]
        mean = goal.mean(0)
        scale = max(float(np.square(known).sum(0).mean()), 1e-12)
        eigenvalues, basis = np.linalg.eigh(known.T @ known)
        known, asked = known @ basis, asked @ basis
        told = known.T @ (goal - mean)
        found = []
        for penalty in PENALTIES:
            shrunk = 1.0 / (np.maximum(eigenvalues, 0.0) + penalty * scale)
            answers = asked @ (shrunk[:, None] * told) + mean
            if not self.questions.classes:
                found.append(np.square(answers - self.goal[~self.fit]).mean(1))
                continue
            own = np.square(known) @ shrunk + 1.0 / len(known)
            left_out = (
                goal - (goal - known @ (shrunk[:, None] * told) - mean) / np.maximum(1.0 - own, 1e-3)[:, None]
            )
            found.append(self._log_loss(left_out, answers))
        return np.stack(found)

    def _log_loss(self, known: Array, asked: Array) -> Array:
        labels = self.questions.targets
        model = LogisticRegression(C=100.0, max_iter=300).fit(known, labels[self.fit])
        chances = np.full((len(asked), self.questions.classes), 0.0)
        chances[:, model.classes_] = model.predict_proba(asked)
        # a class that was not seen while fitting is not impossible
        chances = (chances * len(known) + 1.0) / (len(known) + self.questions.classes)
        found: Array = -np.log(chances[np.arange(len(asked)), labels[~self.fit]])
        return found


def goal_of(questions: NeedQuestions, fit: NDArray[np.bool_]) -> Array:
    """(questions, size): real targets standardised by the fitted ones; classes as indicators."""
    if questions.classes:
        indicators: Array = np.eye(questions.classes)[questions.targets]
        return indicators
    known = questions.targets[fit]
    spread = known.std(0)
    found: Array = (questions.targets - known.mean(0)) / np.where(spread > 0, spread, 1.0)
    return found


def constant_loss(questions: NeedQuestions, fit: NDArray[np.bool_]) -> Array:
    """(held-out questions,): the loss of the best constant of the fitted part, the mean or the classes' shares."""
    if not questions.classes:
        away: Array = np.square(goal_of(questions, fit)[~fit]).mean(1)
        return away
    counts = np.bincount(questions.targets[fit], minlength=questions.classes) + 1.0
    found: Array = -np.log(counts / counts.sum())[questions.targets[~fit]]
    return found
