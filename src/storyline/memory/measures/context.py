"""Use of context by a model and its targets: the loss of each sequence when only its last k steps are shown."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from storyline.memory.measures.counterfactual import check_answers
from storyline.memory.measures.curve import Array, Measure, interval, weights
from storyline.memory.measures.loss import Loss, losses_of
from storyline.memory.measures.questions import Questions
from storyline.memory.measures.use import ContextUse, context_use
from storyline.memory.subjects.sequences import endings, lengths_of
from storyline.memory.subjects.subject import Subject

_DEFINITION = (
    "the smallest context, in steps, from which on the loss stays within {share} of the loss with all of it, or of "
    "what the context gains where that is more"
)


def use(
    subject: Subject,
    questions: Questions,
    loss: Loss | None,
    *,
    threshold: float,
    confidence: float,
    seed: int,
    answers: Tensor | None = None,
) -> Measure:
    """How much context a model uses: its loss with only the last k steps, against the loss with all of them.

        L(k) = mean over questions of loss(answer to the last k steps, target)
        steps = min { k : L(j) <= L + threshold * max(|L|, L(1) - L) for every measured j >= k }

    A context of k steps holds the lags 0 ... k - 1.

    Args:
        subject: the model; it must take sequences shorter than those given.
        questions: see `ask`.
        loss: see `losses_of`: a number, or one for each; None: cross-entropy of logits for integer targets,
            squared error for others.
        threshold: share of the loss or gain.
        confidence: of the interval, over sequences.
        seed: of the resamples.
        answers: (questions, size) what the model answers to the whole contexts, where that is known already.

    Raises:
        MeasureError: a loss is not finite, or the answers are the same for all sequences.
    """
    taken: dict[int | None, Array] = {}

    contexts = questions.contexts
    longest = max(lengths_of(contexts))

    def loss_at(k: int | None) -> float:
        if k == longest and None in taken:
            taken[k] = taken[None]  # that is all of every context
            return float(taken[k].mean())
        if k is None and answers is not None:
            said = answers
        elif k is None:
            said = subject.last(contexts)
        else:
            said = subject.last(endings(contexts, k))
        if k is None:
            check_answers(said)
        taken[k] = losses_of(loss, subject, said, questions.targets)
        return float(taken[k].mean())

    found = context_use(loss_at, longest, tolerance=threshold, ratio=2.0, of_gain=True)
    full, per_question = taken[None], np.stack([taken[int(k)] for k in found.lags], axis=1)
    sequences, place = np.unique(questions.source, return_inverse=True)
    drawn = weights(len(sequences), seed)[:, place]
    drawn /= drawn.sum(1, keepdims=True)
    curves, fulls = drawn @ per_question, drawn @ full
    steps = _steps(found.lags, curves, fulls, threshold)
    low, high = interval(steps, confidence)
    return _measure(found, curves, low, high, threshold, confidence, len(sequences))


def _measure(
    found: ContextUse, curves: Array, low: int, high: int, threshold: float, confidence: float, sequences: int
) -> Measure:
    tail = (1.0 - confidence) / 2.0
    longest = int(found.lags[-1])
    return Measure(
        name="use",
        steps=found.steps.value,
        low=max(1, min(low, found.steps.value)),
        high=max(high, found.steps.value),
        at_least=found.steps.at_least,
        high_at_least=found.steps.at_least or high > longest,
        lags=found.lags,
        curve=found.losses,
        band=np.quantile(curves, [tail, 1.0 - tail], axis=0),
        threshold=threshold,
        confidence=confidence,
        sequences=sequences,
        definition=_DEFINITION.format(share=f"{threshold * 100:g} %"),
        notes=found.notes,
    )


def _steps(lags: np.ndarray, curves: Array, fulls: Array, threshold: float) -> Array:
    """(resamples,) where each resampled curve (resamples, lags) comes within its limit of `fulls` for good.

    One more than the longest where it does not. Between two measured contexts what the loss lies above the full one is
    taken to fall exponentially.
    """
    above = curves - fulls[:, None]
    allowed = threshold * np.maximum(np.abs(fulls), above[:, 0])
    short = above > allowed[:, None]
    # the last context that falls short, and the next
    last = len(lags) - 1 - np.argmax(short[:, ::-1], axis=1)
    next_ = np.minimum(last + 1, len(lags) - 1)
    each = np.arange(len(curves))
    with np.errstate(divide="ignore", invalid="ignore"):
        here, there = above[each, last], np.maximum(above[each, next_], 1e-12 * allowed)
        part = np.where(allowed > 0, np.log(here / allowed) / np.log(here / there), 1.0)
        between = np.ceil(lags[last] + part * (lags[next_] - lags[last]))
    found = np.where(last == len(lags) - 1, lags[-1] + 1.0, between)
    return np.where(short.any(1), found, float(lags[0]))
