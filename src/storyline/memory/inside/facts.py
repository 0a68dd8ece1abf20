"""Facts planted in sequences, and which units of a state hold them, by lag."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from storyline.memory.inside.fact_states import Fact, states_at
from storyline.memory.steps import MeasureError, Steps, check_sizes

_Z = 1.959963984540054  # the normal distribution holds 95 % within so many standard deviations
_RESAMPLES = 2000


@dataclass(frozen=True, eq=False)
class FactProbe:
    """How well a fact can be read from a state, by the steps that lie between.

    Attributes:
        lags: (n,) int64, steps from the one that planted the fact to the state that is read.
        score: (n,) float64, on sequences that the readout has not seen: where the fact is a class, the accuracy of a
            logistic readout, where it is a number, R^2 = 1 - sum (y - y')^2 / sum (y - mean)^2 of a least-squares one.
        low, high: (n,), its 95 % interval over sequences: Wilson's of an accuracy, by bootstrap of an R^2.
        chance: the score of the best answer without the state: the share of the commonest class; 0 of an R^2.
        units: the name of every unit that was read, ``c_l0[12]``: letter, suffix, index, as in `LayerTrace`.
        importance: (n, units), the norm of a unit's weights in the readout, with states scaled to variance 1.
        holders: by lag the smallest set of units, taken in the order of importance, that keeps ``share`` of the skill
            score - chance on unseen sequences; empty where the fact cannot be read.
        share: of the skill that the holders keep.
        name: of the fact.
    """

    lags: NDArray[np.int64]
    score: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    chance: float
    units: tuple[str, ...]
    importance: NDArray[np.float64]
    holders: tuple[tuple[str, ...], ...]
    share: float
    name: str

    @property
    def held(self) -> Steps | None:
        """The largest lag up to which the fact can be read at every lag: its interval lies above chance.

        A lower bound where that is the largest that was asked; None where not even the smallest is read.
        """
        readable = self.low > self.chance
        if not readable[0]:
            return None
        last = len(readable) - 1 if readable.all() else int(readable.argmin()) - 1
        return Steps(int(self.lags[last]), at_least=last == len(readable) - 1)

    def __str__(self) -> str:
        """One sentence."""
        if self.held is None:
            return f"{self.name} cannot be read from the state after {Steps(int(self.lags[0]))}"
        last = int(np.flatnonzero(self.lags == self.held.value)[0])
        names = ", ".join(self.holders[last][:4]) + (", ..." if len(self.holders[last]) > 4 else "")
        count = len(self.holders[last])
        units = "1 unit holds" if count == 1 else f"{count} of {len(self.units)} units hold"
        return (
            f"{self.name} is held for {self.held} (score {self.score[last]:.3f}, chance {self.chance:.3f}); there "
            f"{units} {self.share:.0%} of it: {names}"
        )


def probe_fact(
    source: nn.Module | Callable[[Tensor], Tensor],
    fact: Fact,
    lags: Sequence[int],
    *,
    states: str | None = None,
    penalty: float = 1.0,
    folds: int = 5,
    share: float = 0.95,
    seed: int = 0,
) -> FactProbe:
    """Read a planted fact back from the state after each of some lags, with a regularised linear readout.

        probe_fact(model.lstm, Fact(x, labels, planted=3), lags=[0, 10, 100])

    What a linear readout finds is in the state; what it does not find may still be there in another form. That the
    fact is in the state does not say that the model uses it: see `forget`.

    Args:
        source: a recurrent layer as for `trace`, whose forward directions are read; or a function, inputs
            (rows, time, ...) -> states after each step (rows, time, size).
        fact: what was planted, and where.
        lags: in steps, 0 or more: the state is that after step planted + lag.
        states: letters of the states to read, ``"hc"``; None: the one that holds the memory, c where there is one,
            else h. Of a function there is but one.
        penalty: of the squares of the weights, relative to scikit-learn's own: LogisticRegression(C=1 / penalty),
            Ridge(alpha=penalty).
        folds: of the cross-validation.
        share: of the skill that the holders must keep, above 0 and at most 1.
        seed: of the folds and of the bootstrap.

    Raises:
        MeasureError: the fact does not fit the source or the lags; too few sequences of a class.
    """
    check_sizes(folds=folds)
    if folds < 2 or not penalty > 0 or not 0 < share <= 1:
        raise MeasureError(
            f"folds is {folds}, penalty {penalty}, share {share}; 2 or more, above 0, and above 0 to 1 were wanted"
        )
    found, units = states_at(source, fact, lags, states)
    read = _Readout(fact, penalty, folds, seed)
    rows = [_at_lag(read, values, share) for values in found]
    scores, importance, sizes = zip(*rows, strict=True)
    score, low, high = np.array(scores).T
    holders = tuple(
        tuple(units[unit] for unit in np.argsort(-weight, kind="stable")[:size])
        for weight, size in zip(importance, sizes, strict=True)
    )
    at = np.asarray(lags, dtype=np.int64)
    order = np.argsort(at, kind="stable")
    return FactProbe(
        at[order], score[order], low[order], high[order], read.chance, units, np.array(importance)[order],
        tuple(holders[index] for index in order), share, fact.name,
    )  # fmt: skip


class _Readout:
    """A regularised linear readout of a fact, and its score on sequences that it has not seen."""

    def __init__(self, fact: Fact, penalty: float, folds: int, seed: int) -> None:
        self.numeric, self.penalty, self.seed = fact.numeric, penalty, seed
        self.answers = fact.answers
        count = len(fact.answers)
        if self.numeric:
            if count < 2 * folds:
                raise MeasureError(
                    f"there are {count} sequences; at least {2 * folds} are needed for {folds} folds"
                )
            self.chance = 0.0
            split = KFold(folds, shuffle=True, random_state=seed)
        else:
            classes, counts = np.unique(fact.answers, return_counts=True)
            if counts.min() < folds:
                raise MeasureError(
                    f"class {classes[counts.argmin()]!s} of {fact.name} has {counts.min()} sequences; at least "
                    f"{folds}, one a fold, are needed: give more, or fewer folds"
                )
            self.chance = float(counts.max() / count)
            split = StratifiedKFold(folds, shuffle=True, random_state=seed)
        self.splits = list(split.split(np.zeros((count, 1)), None if self.numeric else fact.answers))

    def fit(self, values: NDArray[np.float64], rows: NDArray[np.int64]) -> tuple[Any, Any]:
        """(scaler, readout) of some rows of the states (sequences, units)."""
        scaler = StandardScaler().fit(values[rows])
        readout = (
            Ridge(self.penalty) if self.numeric else LogisticRegression(C=1 / self.penalty, max_iter=1000)
        )
        with warnings.catch_warnings():
            # a readout that is not quite the best is one still: its score is taken on other sequences
            warnings.simplefilter("ignore", ConvergenceWarning)
            return scaler, readout.fit(scaler.transform(values[rows]), self.answers[rows])

    def importance(self, values: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """(units,): the norm of the weights of each, of a readout of these rows."""
        weights = np.atleast_2d(self.fit(values, rows)[1].coef_)
        return np.asarray(np.linalg.norm(weights, axis=0), dtype=np.float64)

    def predict(self, values: NDArray[np.float64], chosen: Sequence[NDArray[np.int64]]) -> NDArray[Any]:
        """(sequences,): each answered by the readout that has not seen it; ``chosen``: its units, by fold."""
        guesses = np.empty_like(self.answers)
        for (train, test), units in zip(self.splits, chosen, strict=True):
            few = values[:, units]
            scaler, readout = self.fit(few, train)
            guesses[test] = readout.predict(scaler.transform(few[test]))
        return guesses

    def score(self, guesses: NDArray[Any]) -> float:
        if not self.numeric:
            return float((guesses == self.answers).mean())
        return float(_r2(np.asarray(self.answers), guesses))

    def interval(self, guesses: NDArray[Any]) -> tuple[float, float]:
        count = len(self.answers)
        if not self.numeric:
            return _wilson(self.score(guesses), count)
        drawn = np.random.default_rng(self.seed).integers(0, count, (_RESAMPLES, count))
        low, high = np.nanquantile(_r2(np.asarray(self.answers)[drawn], guesses[drawn]), [0.025, 0.975])
        return float(low), float(high)


def _at_lag(
    read: _Readout, values: NDArray[np.float64], share: float
) -> tuple[tuple[float, float, float], NDArray[np.float64], int]:
    """((score, low, high), importance (units,), how many units hold the fact) of the states (sequences, units)."""
    units = values.shape[1]
    # By fold, so that no unit is chosen by the sequences that it is tried on.
    orders = [np.argsort(-read.importance(values, train), kind="stable") for train, _ in read.splits]
    guesses = read.predict(values, orders)
    score, (low, high) = read.score(guesses), read.interval(guesses)
    importance = read.importance(values, np.arange(len(values)))
    if low <= read.chance:
        return (score, low, high), importance, 0
    wanted = read.chance + share * (score - read.chance)
    short, enough = 0, units
    while enough - short > 1:
        middle = (short + enough) // 2
        if read.score(read.predict(values, [order[:middle] for order in orders])) >= wanted:
            enough = middle
        else:
            short = middle
    return (score, low, high), importance, enough


def _r2(answers: NDArray[Any], guesses: NDArray[Any]) -> NDArray[np.float64]:
    """Over the last axis."""
    spread = np.square(answers - answers.mean(-1, keepdims=True)).sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):  # a resample of one value alone has no R^2
        return np.asarray(1 - np.square(answers - guesses).sum(-1) / spread)


def _wilson(share: float, count: int) -> tuple[float, float]:
    """Wilson 1927: the shares whose own 95 % range holds the one that was seen."""
    centre = (share + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
    half = _Z / (1 + _Z**2 / count) * math.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2))
    return centre - half, centre + half
