"""All that is known of one model's memory: in a sentence, as a table and as a page."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from storyline.memory.diagnosis.diagnosis import NOT_SOUGHT, Diagnosis, Finding
from storyline.memory.inside.time_scales import TimeScales
from storyline.memory.measures.curve import Measure
from storyline.memory.measures.horizon import Horizon
from storyline.memory.need.required_horizon import RequiredHorizon
from storyline.memory.report.example import Example
from storyline.memory.report.page import Section, page, write_page
from storyline.memory.steps import Steps

COLUMNS = ("measure", "steps", "95 % interval", "before training")
_NAMES = {
    "counterfactual": "remembers (counterfactual)",
    "gradient": "gradient reaches",
    "recall": "recalls a planted fact for",
    "use": "uses, of the context",
}


@dataclass(frozen=True, eq=False)
class MemoryReport:
    """What was measured of one model on one sample; a part that could not be is None, and `reasons` says why.

    Attributes:
        horizon: the four measures.
        before: the gradient of the model as initialised.
        need: of the data.
        diagnosis: what keeps the model from its data's need.
        scales: time scales of the recurrent layer's units; `scales_before`: before training, on the same inputs.
        example: one sequence of the data, and what was written, kept and erased while it was read.
        unit: what a step is called, in the singular.
        sequences: (measured, in the data).
        reasons: by part, why it is None.
        settings: what the remedies of the diagnosis are called among the settings of the model's task.
    """

    horizon: Horizon
    before: Measure | None
    need: RequiredHorizon | None
    diagnosis: Diagnosis | None
    scales: TimeScales | None
    scales_before: TimeScales | None
    example: Example | None
    unit: str
    sequences: tuple[int, int]
    reasons: Mapping[str, str]
    settings: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def headline(self) -> str:
        """What it remembers, in one sentence."""
        seen = self.horizon.counterfactual
        if seen is None:
            return f"How far back it remembers could not be measured; {self.horizon.headline}."
        share = f"{seen.threshold * 100:g} %"
        if not seen.steps:
            last = f"what lies before the last {self.unit}"
            return f"It does not remember: {last} changes its answer by less than {share}."
        steps = f"{seen.text} {self.unit}{'' if seen.steps == 1 else 's'}"
        if seen.at_least:
            return f"It remembers {steps}: as far back as the data goes, its answer still depends on what was there."
        interval = f"{seen.confidence * 100:g} % interval {seen.interval}"
        return f"It remembers {steps} ({interval}): what lies further back changes its answer by less than {share}."

    @property
    def sentences(self) -> tuple[str, ...]:
        """The headline, the diagnosis, what was measured on, and what is peculiar or missing."""
        found = [self.headline]
        if self.diagnosis is not None:
            found.append(f"{_capital(self.diagnosis.headline)}.")
            for finding in self.diagnosis.findings:
                found.extend([f"{_capital(str(finding))}.", *self._reached_by(finding)])
            if unsought := [f"{name} ({self._why(name)})" for name in self.diagnosis.unsought]:
                found.append(f"Not looked for: {'; '.join(unsought)}.")
            if self.diagnosis.need is None and self.diagnosis.findings:
                found.append(
                    "Whether what was found harms the answers is not known without the need of the data."
                )
        found.append(self.sample)
        for name, measure in self.horizon.measures.items():
            found.extend(f"{_capital(name)}: {note}" for note in measure.notes)
        if self.need is not None:
            unknown = (f"{self.need!s}.",) if self.need.nothing_to_gain else ()
            found.extend(f"Need of the data: {note}" for note in (*unknown, *self.need.notes))
        missing = dict(self.horizon.reasons) | dict(self.reasons)
        found.extend(f"Not measured: {name} ({why.rstrip('.')})." for name, why in missing.items())
        return tuple(found)

    def _reached_by(self, finding: Finding) -> tuple[str, ...]:
        """How the remedy is had where the model is trained, of a model whose settings are known."""
        if not self.settings:
            return ()
        values = {self.settings[key]: value for key, value in finding.change.items() if key in self.settings}
        if given := [f"--set {name}={value}" for name, value in values.items() if value is not None]:
            return (f"To train it so: storyline train ... {' '.join(given)}.",)
        return ("No setting of storyline train does that.",)

    def _why(self, fault: str) -> str:
        """Why a fault was not looked for."""
        assert self.diagnosis is not None
        why = self.diagnosis.reasons[fault].removeprefix(f"{NOT_SOUGHT}: ").rstrip(".")
        name, missing, what = why.partition("= was not given, ")
        if not missing or not self.settings:
            return why
        # who has a model of a task gives no arguments
        return f"the model does not tell {what}" + (
            "; --trained-steps does" if name == "trained_steps" else ""
        )

    @property
    def sample(self) -> str:
        """What was measured on, in a sentence."""
        used, total = self.sequences
        of = f"{used:,} of {total:,} sequences, drawn at random" if total > used else f"{used:,} sequences"
        unit = "" if self.unit == "step" else f" A step is one {self.unit}."
        return (
            f"Measured on {of}; lags of up to {Steps(self.horizon.max_lag)}, on those that are longer.{unit}"
        )

    def rows(self) -> tuple[tuple[str, str, str, str], ...]:
        """(measure, steps, interval, before training); ``-`` where there is none."""
        found = []
        for name, measure in self.horizon.measures.items():
            before = self.before if name == "gradient" else None
            first = "-" if before is None else Steps(before.steps, before.at_least).short
            steps = Steps(measure.steps, measure.at_least).short
            found.append((_NAMES[name], steps, measure.interval, first))
        if self.need is not None:
            need = (
                "nothing found"
                if self.need.nothing_to_gain
                else Steps(self.need.steps, self.need.at_least).short
            )
            found.append(("the data needs, at least", need, f"{self.need.low:,}-{self.need.high:,}", "-"))
        for part in self.scales.lasting if self.scales is not None else ():
            assert self.scales is not None
            initial = "-" if self.scales_before is None else _scales(self.scales_before, part)
            found.append((f"time scale, {part}: median (80 %)", _scales(self.scales, part), "-", initial))
        return tuple(found)

    def table(self) -> str:
        """The headline, the rows and the other sentences as plain text, for a terminal."""
        rows = [COLUMNS, *self.rows()]
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        lines = [
            f"{row[0]:<{widths[0]}}  " + "  ".join(f"{row[i]:>{widths[i]}}" for i in (1, 2, 3))
            for row in rows
        ]
        first, *others = self.sentences
        events = () if self.example is None else self.example.events
        return "\n".join([first, "", *lines, "", *others, *(f"  {event}" for event in events)])

    def to_html(
        self, title: str = "How far back it remembers", footer: str = "", more: Sequence[Section] = ()
    ) -> str:
        """The report as one self-contained html document.

        footer says how it was made; more: sections of the caller's, before what the numbers mean.
        """
        from storyline.memory.report.report_sections import sections

        *own, meaning = sections(self)
        return page(title, self.headline, [*own, *more, meaning], footer)

    def write_html(
        self, path: str | os.PathLike[str], title: str = "How far back it remembers", footer: str = ""
    ) -> None:
        """Write the page of `to_html` whole, or not at all."""
        write_page(path, self.to_html(title, footer))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _scales(found: TimeScales, part: str) -> str:
    quantile = found.quantiles(part)
    return f"{_number(quantile[0.5])} ({_number(quantile[0.1])} to {_number(quantile[0.9])})"


def _number(steps: float) -> str:
    return "endless" if steps == float("inf") else f"{steps:,.3g}" if steps < 1000.0 else f"{steps:,.0f}"
