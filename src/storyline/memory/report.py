"""All the measures of one model, in words, as a table and as a page."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from storyline.layers import MemoryProbe
from storyline.memory.figures import gradient_figure, half_life_figure, to_svg, use_figure
from storyline.memory.gates import HalfLives, half_lives
from storyline.memory.gradient import GradientReach, gradient_reach
from storyline.memory.page import Picture, ReportTable, Section, page, write_page
from storyline.memory.steps import MeasureError, Steps
from storyline.memory.use import ContextUse, context_use

_T = TypeVar("_T")
_COLUMNS = ("measure", "trained", "before training")


@dataclass(frozen=True, eq=False)
class MemoryReport:
    """What was measured of one model; a measure that could not be taken is None, and ``sentences`` says why.

    Attributes:
        gradient: reach of the learning signal in the model as it is.
        gradient_before: the same in the model as initialised.
        use: loss over steps of context.
        half_lives: of the units, from the gate that keeps them.
        sequence_steps: length of the sequences that the gradient was measured on.
        sentences: the finding in words; the first stands alone as the headline.
    """

    gradient: GradientReach | None
    gradient_before: GradientReach | None
    use: ContextUse | None
    half_lives: HalfLives | None
    sequence_steps: int
    sentences: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, str, str]:
        """Heads of the columns of ``rows``."""
        return _COLUMNS

    def rows(self) -> tuple[tuple[str, str, str], ...]:
        """(measure, value, value before training), with units; ``-`` where there is none."""
        found = []
        for name, share in (("1 %", 0.01), ("a millionth", 1e-6)):
            after, before = (_reach_text(reach, share) for reach in (self.gradient, self.gradient_before))
            found.append((f"gradient reach, {name} of lag 0", after, before))
        if self.use is not None:
            found.append(
                (f"context to come within {_percent(self.use)} of the loss", _use_text(self.use), "-")
            )
            found.append(("loss with all of the context", f"{self.use.full:.4g}", "-"))
        if self.half_lives is not None:
            for part in self.half_lives.units:
                quantile = self.half_lives.quantiles(part)
                spread = f"{_life(quantile[0.5])} ({_number(quantile[0.1])} to {_number(quantile[0.9])})"
                found.append((f"{self.half_lives.gate} half-life, {part}", spread, "-"))
        return tuple(found)

    def table(self) -> str:
        """The headline and the rows as plain text, for a terminal."""
        rows = [self.columns, *self.rows()]
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        lines = [f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}" for row in rows]
        return "\n".join(
            [self.sentences[0], "", *lines, *([""] if self.sentences[1:] else []), *self.sentences[1:]]
        )

    def sections(self) -> list[Section]:
        """The report as sections of a page, for a page of your own."""
        caption = (
            f"Measured on sequences of {Steps(self.sequence_steps)}. Half-lives: the median unit, and the "
            "range of the middle 80 % of the units."
        )
        found = [
            Section("In numbers", [*self.sentences[1:], ReportTable(caption, self.columns, self.rows())])
        ]
        if pictures := self._pictures():
            found.append(Section("In pictures", pictures))
        return found

    def write_html(
        self, path: str | os.PathLike[str], title: str = "How far back it remembers", footer: str = ""
    ) -> None:
        """Write the report as one self-contained html file; ``footer`` says how it was made."""
        write_page(path, page(title, self.sentences[0], self.sections(), footer))

    def _pictures(self) -> list[Picture]:
        found = []
        curves = {"model": self.gradient} if self.gradient is not None else {}
        before = {"model": self.gradient_before} if self.gradient_before is not None else {}
        if curves or before:
            caption = (
                "Gradient of the last state by the input k steps back, as a share of its value at lag 0 (log "
                "scale): the median over sequences, the band holding the middle half of them. Dotted lines: "
                "1 % and a millionth. Training learns next to nothing from what lies further back than the reach."
            )
            found.append(Picture(to_svg(gradient_figure(curves, before), "gradient", caption), caption))
        if self.use is not None:
            caption = (
                "Loss when only the last k steps are shown (log scale of k). The band reaches from the loss "
                f"with all of the context to {_percent(self.use)} above it: where the curve enters it "
                "for good is how much context the model uses."
            )
            found.append(Picture(to_svg(use_figure({"model": self.use}), "use", caption), caption))
        if self.half_lives is not None and self.half_lives.units:
            caption = (
                "Units by the half-life of what they hold (log scale), from the mean of their "
                f"{self.half_lives.gate} over this data."
            )
            figure = half_life_figure(self.half_lives, self.sequence_steps)
            found.append(Picture(to_svg(figure, "half-lives", caption), caption))
        return found


def measure(probe: MemoryProbe, *, probes: int = 16, seed: int = 0) -> MemoryReport:
    """Take every measure that the probe allows; one that cannot be taken is None, and said.

    Args:
        probe: the model and the sample; any object with the fields of a MemoryProbe serves.
        probes: random directions a sequence, see gradient_reach.
        seed: of those directions; the same before and after training.
    """
    reasons: list[str] = []

    def attempt(name: str, take: Callable[[], _T]) -> _T | None:
        try:
            return take()
        except MeasureError as error:
            reasons.append(f"{name} could not be measured: {error}.")
            return None

    def before() -> GradientReach:
        initial = probe.initial
        if initial is None:
            raise MeasureError("neither the initial weights nor their curve are known")
        if callable(initial):
            return gradient_reach(initial, probe.inputs, probes=probes, seed=seed)
        return GradientReach.from_norms(initial)

    def use() -> ContextUse:
        if probe.loss_at is None:
            raise MeasureError("the data has no targets; give data with the answers")
        return context_use(probe.loss_at, probe.longest)

    def lives() -> HalfLives:
        if probe.layer is None or probe.layer_inputs is None:
            raise MeasureError("the model has no recurrent layer to look into")
        return half_lives(probe.layer, probe.layer_inputs, probe.lengths)

    gradient = attempt(
        "The gradient", lambda: gradient_reach(probe.function, probe.inputs, probes=probes, seed=seed)
    )
    gradient_before = attempt("The gradient before training", before)
    found_use = attempt("The use of context", use)
    found_lives = attempt("Half-lives", lives)
    sentences = [_headline(gradient, gradient_before, found_use)]
    if found_lives is not None:
        sentences.append(_lives_sentence(found_lives))
    for part in (gradient, found_use):
        sentences.extend(part.notes if part is not None else ())
    if gradient_before is not None:
        sentences.extend(f"Before training: {note}" for note in gradient_before.notes)
    steps = int(probe.inputs.shape[1])
    return MemoryReport(gradient, gradient_before, found_use, found_lives, steps, (*sentences, *reasons))


def _headline(gradient: GradientReach | None, before: GradientReach | None, use: ContextUse | None) -> str:
    parts = []
    far = 0
    if gradient is not None:
        reach = gradient.reach_percent
        far = 0 if reach is None else reach.value
        if reach is None:
            parts.append("the gradient is exactly 0 at every lag")
        else:
            parts.append(f"the gradient reaches {reach} back{_before_text(before)}")
    if use is not None:
        far = max(far, use.steps.value - 1)
        share = f"{_percent(use)} of the loss"
        if use.steps.at_least:
            parts.append(
                f"even the last {Steps(use.steps.value)} of context are not enough to come within {share}"
            )
        else:
            steps = "step of context is" if use.steps.value == 1 else f"{use.steps} of context are"
            parts.append(f"the last {steps} enough to come within {share}")
    if not parts:
        return "How far back it remembers could not be measured."
    return f"It {'remembers' if far else 'does not remember'}: {'; '.join(parts)}."


def _before_text(before: GradientReach | None) -> str:
    if before is None:
        return ""
    reach = before.reach_percent
    if reach is None:
        return " (none before training)"
    return f" ({'at least ' if reach.at_least else ''}{reach.value:,} before training)"


def _lives_sentence(lives: HalfLives) -> str:
    if lives.reason is not None:
        return lives.reason
    quantile = lives.quantiles()
    never = f" {lives.never} of {len(lives.all)} units never forget." if lives.never else ""
    return (
        f"By its {lives.gate}, the median unit loses half of what it holds in {_life(quantile[0.5])}, and "
        f"the slowest tenth in {_life(quantile[0.9])} or more.{never}"
    )


def _reach_text(gradient: GradientReach | None, share: float) -> str:
    if gradient is None:
        return "-"
    reach = gradient.reach(share)
    return "gradient is 0" if reach is None else str(reach)


def _use_text(use: ContextUse) -> str:
    return f"more than {use.steps.value:,} steps" if use.steps.at_least else str(use.steps)


def _percent(use: ContextUse) -> str:
    return f"{use.tolerance * 100:.3g} %"


def _number(steps: float) -> str:
    return f"{steps:,.3g}" if steps < 1000.0 else f"{steps:,.0f}"


def _life(steps: float) -> str:
    return "infinitely many steps" if steps == float("inf") else f"{_number(steps)} steps"
