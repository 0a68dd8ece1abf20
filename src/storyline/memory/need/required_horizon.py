"""How far back the data needs to be remembered, measured without a model of the user's."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storyline.memory.measures.curve import Array, interval, weights
from storyline.memory.need.linear_probes import LinearProbes, constant_loss
from storyline.memory.need.need_curve import NeedCurve, lags_of
from storyline.memory.need.need_questions import NeedQuestions, need_questions
from storyline.memory.need.recurrent_probe import RecurrentProbe
from storyline.memory.steps import MeasureError, Steps, is_whole

PROBES = ("linear", "recurrent")


@dataclass(frozen=True, eq=False)
class RequiredHorizon:
    """How far back the data needs. ``print`` says it: ``1 % of the achievable gain is left beyond 168 steps``.

    Attributes:
        steps: the smallest context, in steps, beyond which at most `tolerance` of the achievable gain is left; 0
            where nothing can be gained, 1 where the current step is enough.
        low: lower end of its interval, by bootstrap over held-out sequences.
        high: upper end.
        at_least: not even the longest context that was looked at suffices for certain, so that `steps` is only a lower
            bound: the sequences may need more.
        lags: (n,) int64, contexts that were measured, in steps, beginning with 0, the constant.
        curve: (n,) float64, the held-out loss of the best probe at each: squared error in units of the target's
            variance, or log loss in nats.
        band: (2, n), the curve's interval.
        probes: (n,) names of the probe that was best at each, of the larger half where the halves differ.
        gain: the achievable gain, curve[0] - curve[-1], in units of the curve.
        tolerance: share of the gain that counts as none.
        confidence: of the intervals.
        sequences: (fitted, held out).
        notes: what was left out or is peculiar, in sentences.
    """

    steps: int
    low: int
    high: int
    at_least: bool
    lags: NDArray[np.int64]
    curve: Array
    band: Array
    probes: tuple[str, ...]
    gain: float
    tolerance: float
    confidence: float
    sequences: tuple[int, int]
    notes: tuple[str, ...] = ()

    @property
    def nothing_to_gain(self) -> bool:
        """True where no probe beats a constant."""
        return self.steps == 0

    def left(self, k: int) -> float:
        """Share of the gain that lies beyond k steps, by the measured context next below k."""
        if self.nothing_to_gain:
            return 0.0
        place = int(np.searchsorted(self.lags, k, side="right")) - 1
        return float((self.curve[place] - self.curve[-1]) / self.gain)

    def __str__(self) -> str:
        """One sentence."""
        if self.nothing_to_gain:
            return "nothing to gain: no probe predicts the targets better than a constant does"
        share = f"{self.tolerance * 100:g} % of the achievable gain is left beyond"
        ends = f"{self.confidence * 100:g} % interval {self.low:,}-{self.high:,}"
        return f"{share} {Steps(self.steps, self.at_least)} ({ends})"


def required_horizon(
    sequences: Any,
    targets: Any = None,
    *,
    lengths: Any = None,
    tolerance: float = 0.01,
    confidence: float = 0.95,
    longest: int | None = None,
    probes: Collection[str] = PROBES,
    updates: int = 300,
    seed: int = 0,
) -> RequiredHorizon:
    """Measure how far back the data needs to be remembered, without a model.

    With L(k) the held-out loss of the probe that is chosen with up to k steps of context, L(0) that of the best
    constant, and K the longest context,

        gain = L(0) - L(K),     steps = min { k : L(j) - L(K) <= tolerance * gain for every measured j >= k }

    The probes (`LinearProbes`, `RecurrentProbe`) are fitted on six of ten sequences. On one half of the others it is
    chosen which is best with up to k steps, on the other half that one is scored, and the other way round, so that no
    probe is praised for luck. A longer context, or another probe, is chosen only where it is better by more than one
    standard error of the paired difference (Breiman et al. 1984, section 3.4.3). Contexts are measured on a grid that
    grows by a half, then between the last that falls short and the next.

    What it cannot see: `steps` is a lower bound. What no probe finds in the data - a rule that takes a larger model, or
    more sequences, to learn; a dependence too weak to be told from chance on the held-out sequences - it takes for
    noise; and the interval is that of the held-out sequences alone, not of those that the probes were fitted on.

    Args:
        sequences: a tensor or array (batch, time, channels) or (batch, time) of floating point, or (batch, time)
            integers, which are tokens; or a list of sequences of differing length. At least 16.
        targets: one a sequence, (batch,) integers (classes) or (batch, ...) floating point, asked after its last step;
            or one a step, (batch, time, ...) or a list of sequences as long as theirs, where integers below 0 and NaN
            are no target; None: the next token, or the next value, of each step. An array whose second axis is as
            long as the sequences counts as one a step.
        lengths: (batch,) steps of each sequence of a padded tensor.
        tolerance: share of the gain that counts as none.
        confidence: of the interval.
        longest: the longest context to look at, in steps; None: all of the sequence for one target a sequence, half
            of the median sequence for one a step, asked at steps that have so much before them.
        probes: some of "linear" and "recurrent".
        updates: of the recurrent probe's training.
        seed: of the split, of the questions asked, of the probe and of the resamples. The global generators are not
            touched.

    Raises:
        MeasureError: too few or too short sequences, targets that do not fit them, one class or constant targets, NaN.
    """
    _check(tolerance, confidence, longest, probes, updates)
    questions = need_questions(sequences, targets, lengths, longest, seed)
    asked = np.unique(questions.row)
    shuffled = np.random.default_rng(seed).permutation(asked)
    fitted = np.zeros(len(questions.rows), dtype=bool)
    fitted[shuffled[: round(0.6 * len(asked))]] = True
    _check_classes(questions, fitted)
    curve = _measured(questions, fitted, probes, updates, tolerance, seed)
    return _summary(questions, curve, tolerance, confidence, seed)


def _measured(
    questions: NeedQuestions,
    fitted: NDArray[np.bool_],
    probes: Collection[str],
    updates: int,
    tolerance: float,
    seed: int,
) -> NeedCurve:
    """The held-out losses on the grid, and between the last context that falls short and the next."""
    grid = lags_of(questions.longest)
    used: list[LinearProbes | RecurrentProbe] = []
    if "linear" in probes:
        used.append(LinearProbes(questions, fitted))
    if "recurrent" in probes:
        used.append(RecurrentProbe(questions, fitted, grid, updates, seed))
    fit = fitted[questions.row]
    curve = NeedCurve(questions.row[~fit], [name for probe in used for name in probe.names])
    curve.add_constant(constant_loss(questions, fit))
    for k in grid:
        curve.add(k, np.concatenate([probe.losses(k) for probe in used]))
    while (middle := curve.between(tolerance)) is not None:
        curve.add(middle, np.concatenate([probe.losses(middle) for probe in used]))
    return curve


def _summary(
    questions: NeedQuestions, found: NeedCurve, tolerance: float, confidence: float, seed: int
) -> RequiredHorizon:
    curve, chosen = found.curve()
    resampled = found.resampled(weights(found.sequences, seed))
    tail = (1.0 - confidence) / 2.0
    gains = resampled[:, 0] - resampled[:, -1]
    nothing = curve[0] - curve[-1] <= 0 or float(np.quantile(gains, tail)) <= 0
    notes = list(questions.notes)
    steps, at_least = found.steps(curve, tolerance), False
    low, high = interval(np.array([found.steps(each, tolerance) for each in resampled]), confidence)
    if nothing:
        steps = low = high = 0
    elif not questions.whole and steps > found.lags[-2]:
        at_least = True
        notes.append(
            f"The longest context that was looked at is {questions.longest} steps; longest= sets another."
        )
    fitted = len(np.unique(questions.row)) - found.sequences
    return RequiredHorizon(
        steps=steps,
        low=min(low, steps),
        high=max(high, steps),
        at_least=at_least,
        lags=found.lags,
        curve=curve,
        band=np.quantile(resampled, [tail, 1.0 - tail], axis=0),
        probes=chosen,
        gain=0.0 if nothing else float(curve[0] - curve[-1]),
        tolerance=tolerance,
        confidence=confidence,
        sequences=(fitted, found.sequences),
        notes=tuple(notes),
    )


def _check_classes(questions: NeedQuestions, fitted: NDArray[np.bool_]) -> None:
    if questions.classes and len(np.unique(questions.targets[fitted[questions.row]])) < 2:
        raise MeasureError(
            f"the {int(fitted.sum())} sequences to fit on hold one class only; give more of the other classes"
        )


def _check(
    tolerance: float, confidence: float, longest: int | None, probes: Collection[str], updates: int
) -> None:
    for name, share in (("tolerance", tolerance), ("confidence", confidence)):
        if not isinstance(share, int | float | np.number) or not 0.0 < share < 1.0:
            raise MeasureError(f"{name} is {share!r}; a share above 0 and below 1 was wanted")
    for name, count in (("longest", longest), ("updates", updates)):
        if count is not None and (not is_whole(count) or count < 1):
            raise MeasureError(f"{name} is {count!r}; a whole number, 1 or more, was wanted")
    if isinstance(probes, str) or not probes or any(probe not in PROBES for probe in probes):
        raise MeasureError(f"probes are {probes!r}; some of {', '.join(PROBES)} were wanted, as a tuple")
