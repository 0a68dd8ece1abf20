"""Recall: plant a fact in a sequence, and read it back from the model's answer k steps later."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from storyline.memory.measures.curve import Array, Measure, fine_lags, search, summarise, weights
from storyline.memory.measures.readout import Reading, Readout
from storyline.memory.steps import MeasureError
from storyline.memory.subjects.continued import Passed, answers_behind
from storyline.memory.subjects.inner_state import WithState, state_subject
from storyline.memory.subjects.sequences import Rows, lengths_of, picked, stacked
from storyline.memory.subjects.subject import Subject

_DEFINITION = (
    "the largest lag at which a planted fact (one of {facts} {what}) is read back from the {where} by least squares "
    "at least {share} of the way from chance to perfect; chance is the 95th percentile for shuffled facts"
)
_MOST_TOKENS = 4
# So many sequences with a planted fact; where every lag needs sequences of its own, so many for each.
_PLANTED, _MOST, _PLANTED_A_LAG, _PLANTED_A_ROW = 128, 512, 64, 4
# The fact is planted after this share of a sequence, so that it has a past to be told from.
_BEFORE = 4
# So many numbers of a causal model's answers are kept, at every lag; of more, at lags a hundredth apart.
_KEPT = 1 << 24
# The share of an element's variance that the facts explain, from which on it is worth a look.
_TOLD = 0.4
# Lags that are looked at together, so that what is made of them stays near the processor.
_PEAKS_AT_ONCE = 16


@dataclass(frozen=True, eq=False)
class _Plan:
    """Which sequence gets which fact: `source` (samples,), `fact` (samples,) in 0 ... facts - 1, `patterns`."""

    source: NDArray[np.int64]
    fact: NDArray[np.int64]
    patterns: Tensor


def recall(
    subject: Subject,
    rows: Rows,
    max_lag: int,
    *,
    threshold: float,
    confidence: float,
    seed: int,
    planted: int | None = None,
    passed: Passed | None = None,
) -> Measure:
    """Plant one of a few facts, and read it back with a linear readout k steps later.

    A fact is a step of the user's own: of numbers, one of two steps of the data, those at the 16th and the 84th
    percentile of its first principal component (a standard deviation either side of the middle); of tokens, one of
    the four commonest. It takes the place of what stood there. From the answers y(k) at k steps after it a ridge
    readout, fitted on one half of the sequences and scored on the other, and the other way round, tells which fact
    it was:

        skill(k) = (accuracy(k) - chance(k)) / (1 - chance(k)),     steps = max { k : skill(k) >= threshold }

    with chance(k) the 95th percentile of the accuracy for shuffled facts. Of a causal model that answers at every
    step, the fact stands at a fixed place and the answer is taken k steps later, which costs one evaluation; of
    others it stands k steps before the end, and every lag costs one. A model with one answer a sequence says what it
    was asked for, a class say, and rightly nothing of the fact: of a module whose recurrent layer reads all steps in
    one call the fact is read from the state h of that layer, step by step as of a causal model.

    Args:
        subject: the model.
        rows: the sequences, each longer than `max_lag`.
        max_lag: the longest lag; of a causal model that answers at every step three quarters of it, so that a
            quarter of each sequence lies before the fact.
        threshold: of the skill.
        confidence: of the interval, over the sequences that are scored.
        seed: of facts and halves.
        planted: sequences with a planted fact; None: as many as there are, but 128 to 512 and at most 4 a
            sequence; where every lag needs its own, 64.
        passed: of a layer that goes on, what it has read, with its state after `planting_place` steps.

    Raises:
        MeasureError: all steps of the data are alike, so that there is nothing to plant; or one answer a sequence is
            all that the model gives, and does not even tell which fact stood at the last step.
    """
    where = "answer"
    if not subject.causal and (inner := state_subject(subject, rows)) is not None:
        assert isinstance(inner.model, WithState)
        subject, where = inner, f"state of its {inner.model.called}"
    generator = np.random.default_rng(seed)
    at_once = subject.causal
    if at_once:
        max_lag = _reach(max_lag)
        count = planted or min(max(len(rows), _PLANTED), _MOST, _PLANTED_A_ROW * len(rows))
    else:
        count = planted or _PLANTED_A_LAG
    patterns = _patterns(rows)
    source = np.resize(generator.permutation(len(rows)), count).astype(np.int64)
    plan = _Plan(source, (generator.permutation(count) % len(patterns)).astype(np.int64), patterns)
    lags = fine_lags(max_lag)
    answers: Tensor | None = None
    also: list[int] = []
    if at_once:
        size = (subject.last(rows[:1]) if passed is None else passed.answers).shape[1]
        if count * (max_lag + 1) * size <= _KEPT:
            lags = np.arange(max_lag + 1)
        answers = (
            _after(subject, rows, plan, lags)
            if passed is None
            else _behind(subject, rows, plan, lags, passed)
        )
        also = _peaks(answers, plan, lags)
    readout, readings = Readout(plan.fact, plan.source, len(patterns), seed), dict[int, Reading]()

    def skills(wanted: list[int]) -> list[float]:
        new = [lag for lag in wanted if lag not in readings]
        if answers is None:
            states = _before_end(subject, rows, plan, new)
        else:
            states = [answers[:, int(np.searchsorted(lags, lag))] for lag in new]
        for lag, state in zip(new, states, strict=True):
            readings[lag] = readout.read(state)
        return [readings[lag].skill for lag in wanted]

    found = search(skills, lags, threshold, also=also)
    measured = np.array(sorted(found), dtype=np.int64)
    taken = [readings[int(lag)] for lag in measured]
    resampled = _resampled(taken, plan.source, seed)
    if not at_once and all(reading.skill < threshold for reading in taken):
        raise MeasureError(
            "the model gives one answer a sequence, which does not tell which fact was planted at any lag, not even at "
            "the last step, and no recurrent layer of it whose state could be read sees all steps in one call; give "
            "the layer, or a model that answers with its state"
        )
    tokens = not patterns.is_floating_point()
    definition = _DEFINITION.format(
        facts=len(patterns),
        what="tokens" if tokens else "steps of the data",
        where=where,
        share=f"{threshold * 100:g} %",
    )
    return summarise(
        "recall",
        measured,
        np.array([reading.skill for reading in taken]),
        resampled,
        threshold,
        confidence,
        definition,
        sequences=len(np.unique(plan.source)),
    )


def planting_place(steps: int, max_lag: int) -> int:
    """After so many of its steps a sequence is given its fact, where the model answers at every step."""
    return steps - 1 - _reach(max_lag)


def _reach(max_lag: int) -> int:
    return max_lag - (max_lag + 1) // _BEFORE


def _patterns(rows: Rows) -> Tensor:
    """What may be planted, (facts, ...): steps of the data, clearly different."""
    steps = rows.flatten(0, 1) if isinstance(rows, Tensor) else torch.cat(list(rows))
    if not steps.is_floating_point():
        tokens, counts = torch.unique(steps, return_counts=True)
        if len(tokens) < 2:
            raise MeasureError("all tokens of the inputs are the same; there is no other to plant as a fact")
        commonest: Tensor = tokens[counts.argsort(descending=True, stable=True)[:_MOST_TOKENS]]
        return commonest
    # every n-th is enough for a direction and two percentiles
    steps = steps[:: max(1, len(steps) // 20_000)]
    flat = steps.reshape(len(steps), -1).double()
    centred = flat - flat.mean(0)
    if float(centred.abs().max()) == 0.0:
        raise MeasureError("all steps of the inputs are the same; there is no other to plant as a fact")
    direction = torch.linalg.eigh(centred.T @ centred).eigenvectors[:, -1]
    order = (centred @ direction).argsort()
    return torch.stack([steps[order[int(share * (len(order) - 1))]] for share in (0.16, 0.84)])


def _after(subject: Subject, rows: Rows, plan: _Plan, lags: NDArray[np.int64]) -> Tensor:
    """(samples, lags, size): the answers so many steps after the fact, which stands lags[-1] + 1 before the end."""
    lengths = np.array(lengths_of(rows))[plan.source]
    places = lengths - 1 - int(lags[-1])
    return subject.at(_planted(rows, plan, places), torch.from_numpy(places[:, None] + lags))


def _behind(subject: Subject, rows: Rows, plan: _Plan, lags: NDArray[np.int64], passed: Passed) -> Tensor:
    """`_after`, of a layer that goes on from the state before the fact, so that what lies before is read once."""
    tails = stacked(picked(rows, plan.source))[:, -1 - int(lags[-1]) :]
    tails[:, 0] = plan.patterns[plan.fact].to(tails.device)
    state = passed.of(plan.source.tolist()).get(len(rows[0]) - tails.shape[1], ())
    return answers_behind(subject, tails, state, torch.from_numpy(lags))


def _peaks(answers: Tensor, plan: _Plan, lags: NDArray[np.int64]) -> list[int]:
    """The furthest lag at which one element of the answer alone tells the facts apart, [] where none does.

    A delay shows a fact at a single lag, which spread lags would miss.
    """
    facts = torch.arange(len(plan.patterns))[:, None] == torch.from_numpy(plan.fact)
    shares = facts.double().mean(1, keepdim=True)
    means_of = (facts / facts.sum(1, keepdim=True).clamp_min(1)).to(answers.dtype)
    found = []
    for some in torch.split(answers, _PEAKS_AT_ONCE, 1):
        centred = (some - some.mean(0)).flatten(1)
        explained = ((means_of @ centred).square() * shares).sum(0)
        variance = centred.square_().mean(0)
        share = torch.where(variance > 0, explained / variance, 0.0)
        found.append(share.reshape(some.shape[1], -1).amax(1))
    share = torch.cat(found)
    told = torch.nonzero(share >= _TOLD).flatten()
    return [int(lags[int(told[-1])])] if len(told) else []


def _before_end(subject: Subject, rows: Rows, plan: _Plan, lags: list[int]) -> list[Tensor]:
    """For each lag (samples, size): the last answers where the fact stands so many steps before the end."""
    if not lags:
        return []
    return list(
        subject.last_of_groups(
            _planted(rows, plan, np.array([len(rows[i]) - 1 - lag for i in plan.source])) for lag in lags
        )
    )


def _planted(rows: Rows, plan: _Plan, places: NDArray[np.int64]) -> list[Tensor]:
    found = []
    for i, fact, place in zip(plan.source, plan.fact, places, strict=True):
        row = rows[i].clone()
        row[place] = plan.patterns[fact].to(row.device)
        found.append(row)
    return found


def _resampled(readings: list[Reading], source: NDArray[np.int64], seed: int) -> Array:
    """(resamples, lags) skill over resampled sequences; a sequence comes with all its planted facts."""
    sequences, place = np.unique(source, return_inverse=True)
    drawn = weights(len(sequences), seed)[:, place]
    right = np.stack([reading.right for reading in readings], axis=1).astype(np.float64)
    chance = np.array([reading.chance for reading in readings])
    accuracy = drawn @ right / drawn.sum(1, keepdims=True)
    skill: Array = np.maximum((accuracy - chance) / (1.0 - chance), 0.0)
    return skill
