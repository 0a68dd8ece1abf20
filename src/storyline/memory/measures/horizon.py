"""How far back a model remembers, by four measures, because each alone misleads."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from torch import Tensor

from storyline.memory.measures.context import use
from storyline.memory.measures.counterfactual import check_answers, counterfactual
from storyline.memory.measures.curve import Measure, fine_lags, spread_lags
from storyline.memory.measures.jacobian import gradient
from storyline.memory.measures.questions import ask
from storyline.memory.measures.recall import planting_place, recall
from storyline.memory.steps import MeasureError, Steps, check_sizes, is_whole
from storyline.memory.subjects.continued import Passed, goes_on, pass_through, pieces
from storyline.memory.subjects.sequences import Rows, Sequences, read_sequences
from storyline.memory.subjects.soundness import FEWEST, examine, time_axis
from storyline.memory.subjects.subject import Subject

MEASURES = ("counterfactual", "gradient", "recall", "use")
_PIECES_KEPT = 8


@dataclass(frozen=True, eq=False)
class Horizon:
    """How far back a model remembers. ``print(h)`` says it in a line; a measure that was not taken is None.

    What it "remembers" is the counterfactual measure: the one that asks what the answer depends on, needs neither
    gradients nor targets, and means the same for every model.

    Attributes:
        gradient: how far back the learning signal reaches (see `jacobian.gradient`).
        counterfactual: how far back a change of the past changes the answer (see `counterfactual.counterfactual`).
        recall: for how long a planted fact can be read back (see `recall.recall`).
        use: how much context lowers the loss (see `context.use`).
        reasons: by name, why a measure is None.
        max_lag: the longest lag that was looked at, in steps.
        notes: of the data, in sentences.
    """

    gradient: Measure | None
    counterfactual: Measure | None
    recall: Measure | None
    use: Measure | None
    reasons: Mapping[str, str]
    max_lag: int
    notes: tuple[str, ...] = ()

    @property
    def measures(self) -> dict[str, Measure]:
        """Those that were taken, by name; what it remembers first."""
        found = {name: getattr(self, name) for name in MEASURES}
        return {name: measure for name, measure in found.items() if measure is not None}

    @property
    def headline(self) -> str:
        """One line: ``remembers 412 steps (95 % interval 380-450); gradient reaches 610; uses 230``."""
        parts = []
        if (seen := self.counterfactual) is not None:
            steps = Steps(seen.steps, seen.at_least)
            parts.append(f"remembers {steps} ({seen.confidence * 100:g} % interval {seen.interval})")
        words = (("gradient reaches", self.gradient), ("recalls a fact for", self.recall), ("uses", self.use))
        parts.extend(f"{word} {measure.text}" for word, measure in words if measure is not None)
        return "; ".join(parts) if parts else "no measure could be taken"

    def __str__(self) -> str:
        missing = [f"{name} was not taken: {reason}" for name, reason in self.reasons.items()]
        return "\n".join([self.headline, *missing])

    def table(self) -> str:
        """A row a measure: steps, interval, definition; then what was not taken, and notes."""
        rows = [("measure", "steps", "interval", "definition")]
        for name, measure in self.measures.items():
            short = Steps(measure.steps, measure.at_least).short
            rows.append((name, short, measure.interval, measure.definition))
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        lines = [
            f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]}" for row in rows
        ]
        notes = [f"{name}: {note}" for name, measure in self.measures.items() for note in measure.notes]
        missing = [f"{name} was not taken: {reason}" for name, reason in self.reasons.items()]
        return "\n".join([*lines, *missing, *notes, *self.notes])

    def plot(self, axes: Axes | None = None) -> Axes:
        """Draw the curves over the lag, each as a share of its own full size, with its interval as a band."""
        from storyline.memory.report.horizon_figure import draw_horizon

        return draw_horizon(self, axes)


def horizon(
    model: Callable[..., Any],
    inputs: Any,
    targets: Any = None,
    *,
    lengths: Any = None,
    loss: Callable[..., Any] | None = None,
    time_dim: int | None = None,
    max_lag: int | None = None,
    threshold: float = 0.01,
    recall_threshold: float = 0.5,
    confidence: float = 0.95,
    measures: Collection[str] = MEASURES,
    seed: int = 0,
    pairings: int | None = None,
    probes: int | None = None,
    planted: int | None = None,
    rows_at_once: int | None = None,
) -> Horizon:
    """Measure how far back a model remembers.

    Args:
        model: any torch.nn.Module, or any callable array -> array (an ONNX session in a lambda, a quantised or a
            remote model), which has no gradient. Of what it returns, a tuple's first element, or `logits`,
            `last_hidden_state`, `output` of a dict or object, counts as its answer: (batch, time, size), or
            (batch, size) with one answer a sequence. The last answer is what is measured.
        inputs: a tensor or NumPy array, (batch, time, channels) or (batch, time) of floating point, or
            (batch, time) integers, which are tokens; or a list of sequences of differing length, or a
            PackedSequence, which reach a model with an argument `lengths` padded, torch.nn's recurrent layers
            packed, others in groups of one length. At least 8 sequences. A callable that is no module gets what
            came: arrays or tensors.
        targets: one a sequence, or (batch, time, ...) one a step, where integers below 0 and NaN are no target; needed
            for "use" alone.
        lengths: (batch,) steps of each sequence of a padded tensor.
        loss: (answers (n, size), targets (n, ...)) -> a number, as ``torch.nn.functional.mse_loss`` and
            ``cross_entropy`` are; answers have the dtype of floating-point targets, and beside integers that of the
            model's output, and targets of as many numbers have their shape. None: cross-entropy of logits for
            integer targets, squared error for others.
        time_dim: 0 where model and inputs have time first; None: what the module's `batch_first` says, else 1.
        max_lag: the longest lag, in steps; None: as long as the sequences allow, of ragged ones as long as a
            quarter of them (but 8) does. Longer takes no more time than the log of it.
        threshold: share of lag 0 (gradient, counterfactual) or of the loss (use) that counts as none.
        recall_threshold: how far from chance (0) to perfect (1) a fact must be read back.
        confidence: of the intervals, which are percentile bootstraps over sequences.
        measures: those to take.
        seed: of donors, directions, facts and resamples. The global generators are not touched.
        pairings: see `counterfactual`; more narrow the interval and cost time.
        probes: see `gradient`.
        planted: see `recall`.
        rows_at_once: sequences in one call at most; 1 for a model that mixes rows on purpose.

    Raises:
        MeasureError: too few or too short sequences, NaN, rows that are mixed, dropout left on, an output that is
            constant or ignores the inputs: what makes every measure worthless. A measure that alone cannot be
            taken is None, and `reasons` says why.
    """
    _check_settings(threshold, recall_threshold, confidence, measures, seed)
    sizes = {"max_lag": max_lag, "pairings": pairings, "probes": probes, "rows_at_once": rows_at_once}
    check_sizes(**{name: size for name, size in sizes.items() if size is not None})
    if planted is not None and (not is_whole(planted) or planted < FEWEST):
        raise MeasureError(
            f"planted is {planted!r}; {FEWEST} or more, to be read back in two halves, were wanted"
        )
    axis = time_axis(model, time_dim)
    sequences = read_sequences(inputs, lengths, axis)
    subject = examine(model, sequences, axis, rows_at_once)
    longest, rows, notes = _chosen(sequences, max_lag)
    passed = _passed(subject, rows, longest, measures) if goes_on(subject, rows) else None
    answers = subject.last(rows) if passed is None else passed.answers
    check_answers(answers)
    settings: dict[str, Any] = {"confidence": confidence, "seed": seed}
    shared = {**settings, "passed": passed}
    reasons: dict[str, str] = {}
    taken: dict[str, Measure] = {}

    def attempt(name: str, take: Callable[[], Measure]) -> None:
        if name not in measures:
            reasons[name] = "it was not asked for"
            return
        try:
            taken[name] = take()
        except MeasureError as error:
            reasons[name] = str(error)

    attempt(
        "counterfactual",
        lambda: counterfactual(
            subject, rows, answers, longest, threshold=threshold, pairings=pairings, **shared
        ),
    )
    attempt(
        "gradient", lambda: gradient(subject, rows, longest, threshold=threshold, probes=probes, **settings)
    )
    attempt(
        "recall",
        lambda: recall(subject, rows, longest, threshold=recall_threshold, planted=planted, **shared),
    )
    attempt(
        "use",
        lambda: _use(subject, sequences, targets, axis, loss, answers, threshold=threshold, **settings),
    )
    return Horizon(
        taken.get("gradient"),
        taken.get("counterfactual"),
        taken.get("recall"),
        taken.get("use"),
        MappingProxyType(reasons),
        longest,
        notes,
    )


def _passed(subject: Subject, rows: Rows, longest: int, measures: Collection[str]) -> Passed:
    """The evaluation of all rows by a layer that goes on, with the states that the measures go on from."""
    steps = len(rows[0])
    cuts: set[int] = set()
    if "counterfactual" in measures:
        cuts |= {steps - lag for lag in spread_lags(fine_lags(longest))}
    # of long sequences gradients keep the states of their own few rows
    if "gradient" in measures and len(pieces(steps)) <= _PIECES_KEPT:
        cuts |= set(pieces(steps))
    if "recall" in measures:
        cuts.add(planting_place(steps, longest))
    return pass_through(subject, rows, cuts - {steps})


def _use(
    subject: Subject,
    sequences: Sequences,
    targets: Any,
    axis: int,
    loss: Any,
    answers: Tensor,
    **settings: Any,
) -> Measure:
    """`answers` are those to the whole sequences that were asked, which may be all that "use" asks."""
    if targets is None:
        raise MeasureError("no targets were given; give targets= (and loss=)")
    questions = ask(subject, sequences, targets, axis)
    asked = questions.contexts is sequences.rows and len(answers) == len(sequences.rows)
    return use(subject, questions, loss, answers=answers if asked else None, **settings)


def _chosen(sequences: Sequences, max_lag: int | None) -> tuple[int, Rows, tuple[str, ...]]:
    """(longest lag, the rows that are longer, a note on those left out)."""
    lengths = sorted(sequences.lengths, reverse=True)
    if max_lag is None:
        max_lag = lengths[max(FEWEST, len(lengths) // 4) - 1] - 1
        if max_lag < 1:
            raise MeasureError(
                f"too many sequences have a single step; at least {FEWEST} of 2 steps or more are needed for a lag"
            )
    kept = sequences.at_least(max_lag + 1)
    if len(kept) < FEWEST:
        raise MeasureError(
            f"max_lag={max_lag} needs at least {FEWEST} sequences of {max_lag + 1} steps or more; inputs "
            f"hold {len(kept)}, and the longest has {lengths[0]}: give longer sequences, or "
            f"max_lag={lengths[FEWEST - 1] - 1}"
        )
    if len(kept) == len(lengths):
        return max_lag, sequences.rows, ()
    note = (
        f"Measured on the {len(kept)} of {len(lengths)} sequences that have more than {max_lag} steps; max_lag= sets "
        "another bound."
    )
    return max_lag, tuple(sequences.rows[i] for i in kept), (note,)


def _check_settings(
    threshold: float, recall_threshold: float, confidence: float, measures: Collection[str], seed: int
) -> None:
    if not is_whole(seed) or seed < 0:
        raise MeasureError(f"seed is {seed!r}; a whole number, 0 or more, was wanted")
    for name, share in (
        ("threshold", threshold),
        ("recall_threshold", recall_threshold),
        ("confidence", confidence),
    ):
        if not isinstance(share, int | float | np.number) or not 0.0 < share < 1.0:
            raise MeasureError(f"{name} is {share!r}; a share above 0 and below 1 was wanted")
    unknown = [name for name in measures if name not in MEASURES]
    if isinstance(measures, str) or unknown or not measures:
        raise MeasureError(
            f"measures are {measures!r}; some of {', '.join(MEASURES)} were wanted, as a tuple"
        )
