"""What is the matter with a model's memory, the figure that shows it, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from storyline.memory.diagnosis.evidence import ENOUGH
from storyline.memory.measures.curve import Measure
from storyline.memory.need.required_horizon import RequiredHorizon
from storyline.memory.steps import Steps

FAULTS = (
    "truncated too short",
    "reset too often",
    "exploding",
    "dead units",
    "input ignored",
    "saturated",
    "clipped too hard",
    "vanishing",
    "state drifts",
)

# How the reason begins of a fault that could not be looked for.
NOT_SOUGHT = "not looked for"


@dataclass(frozen=True)
class Finding:
    """One fault.

    Attributes:
        name: one of `FAULTS`.
        figure: what shows it, in a sentence with its numbers.
        remedy: what to do, in a sentence without its full stop.
        change: the same as arguments, for a program: ``{"remember": 168}``; names as in `diagnose`, section Remedies.
        values: the numbers of the figure by name.
    """

    name: str
    figure: str
    remedy: str
    change: Mapping[str, Any]
    values: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        """One sentence: name, figure, remedy."""
        return f"{self.name}: {self.figure}; {self.remedy}"


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """The faults that were found, the likeliest cause first, and all that was measured on the way.

    Attributes:
        findings: of `FAULTS`, in that order: a setting that explains a short memory comes before what it leads to.
        need: how far back the data needs, in steps; None where it is not known.
        uses: how many steps of context the model uses; None where that was not taken.
        required: the measurement of `need`, where it was measured.
        figures: what was measured, in sentences, whether or not it is a fault.
        reasons: by fault, why it could not be looked for, or from which other one it follows.
        shortfall: share of the gain that the probes of the need achieve and the model does not; None: not known.
    """

    findings: tuple[Finding, ...]
    need: Steps | None
    uses: Steps | None
    required: RequiredHorizon | None
    figures: tuple[str, ...]
    reasons: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    shortfall: float | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Of the findings."""
        return tuple(finding.name for finding in self.findings)

    @property
    def unsought(self) -> tuple[str, ...]:
        """The faults that could not be looked for; `reasons` says why."""
        return tuple(fault for fault, reason in self.reasons.items() if reason.startswith(NOT_SOUGHT))

    @property
    def headline(self) -> str:
        """One sentence: ``your data needs 168 steps, your model uses 31: raise remember= to 168, or ...``.

        Without a finding it says so, and whether the model has learned what the data allows all the same; with one it
        says what is missing where the model reaches as far as the data needs.
        """
        known = []
        if self.need is not None:
            known.append(f"your data needs {self.need}")
        if self.uses is not None:
            known.append(f"your model uses {self.uses.short}" if known else f"your model uses {self.uses}")
        short = self.shortfall is not None and self.shortfall > ENOUGH
        if not self.findings:
            but = f", but {gained(self.shortfall)}, so train it for longer" if short else ""
            return ": ".join([f"no fault found{but}", *([", ".join(known)] if known else [])])
        if short and self.need and self.uses and self.uses.value >= self.need.value:
            known.append(gained(self.shortfall))
        first = self.findings[0]
        return f"{', '.join(known) or first.name}: {first.remedy}"

    def __str__(self) -> str:
        """The headline, a line a finding; without one, the figures; then what could not be looked for, and why."""
        lines = [self.headline]
        lines.extend(str(finding) for finding in self.findings)
        if not self.findings:
            lines.extend(self.figures)
        lines.extend(f"{fault}: {reason}" for fault, reason in self.reasons.items())
        return "\n".join(lines)


def gained(shortfall: float | None) -> str:
    """``the model gets 71% of the gain that the probes achieve``."""
    got = 1.0 - (shortfall or 0.0)
    return f"the model gets {f'{got:.0%}' if got > 0.005 else 'nothing'} of the gain that the probes achieve"


def used_steps(use: Measure | None, counterfactual: Measure | None) -> Steps | None:
    """Steps of context that a model uses: by its loss, else by what changes its answer (lag k is context k + 1)."""
    if use is not None:
        return Steps(use.steps, use.at_least)
    if counterfactual is not None:
        return Steps(counterfactual.steps + 1, counterfactual.at_least)
    return None
