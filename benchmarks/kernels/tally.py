"""What was judged, counted: cases and worst verdicts of each layer, failures, doubts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import torch

from benchmarks.kernels.drawing import Group
from benchmarks.kernels.judging import DTYPES, Verdict


class Tally:
    """cases: how many of each layer; failures and doubts: results of a group in a dtype."""

    def __init__(self) -> None:
        self.cases: Counter[str] = Counter()
        self.failures = self.doubts = 0
        self._worst: dict[tuple[str, torch.dtype], Verdict] = {}

    def add(self, group: Group, verdicts: list[Verdict]) -> Iterator[str]:
        """Count the verdicts on a group; yields a line for each that fails."""
        self.cases[group.name] += len(group.cases)
        self.doubts += sum(verdict.in_doubt for verdict in verdicts)
        for verdict in verdicts:
            if verdict.in_doubt:
                continue
            key = (group.name, verdict.dtype)
            if key not in self._worst or verdict.share > self._worst[key].share:
                self._worst[key] = verdict
            if verdict.share > 1:
                self.failures += 1
                yield (
                    f"{group.name}, {verdict.result} in {verdict.dtype}: error {verdict.error:.2e}, allowed "
                    f"{verdict.allowed:.2e}, in case {verdict.case} of {len(group.cases)}, "
                    f"hidden_size {group.hidden_size}, reverse {group.reverse}, {group.cases[verdict.case]}"
                )

    def table(self) -> str:
        """A line a layer: its cases, and its worst error in each dtype as a share of what is allowed."""
        lines = [f"{'layer':18s} {'cases':>7s}   worst share of the allowed error, and of which result"]
        for name in sorted(self.cases):
            worst = [self._worst[name, dtype] for dtype in DTYPES if (name, dtype) in self._worst]
            told = "; ".join(
                f"{str(each.dtype).removeprefix('torch.')} {each.share:.2f} {each.result}" for each in worst
            )
            lines.append(f"{name:18s} {self.cases[name]:7d}   {told}")
        return "\n".join(lines)

    def row(self) -> dict[str, object]:
        """For the CSV file."""
        worst = {
            f"worst_{str(dtype).removeprefix('torch.')}": round(
                max(verdict.share for (_, of), verdict in self._worst.items() if of == dtype), 3
            )
            for dtype in DTYPES
        }
        return {"cases": sum(self.cases.values()), "failures": self.failures, "doubts": self.doubts, **worst}
