"""What a benchmark's rows say: the longest distance recalled by each cell, and a picture of recall over distance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from storyline.stories.scoring import BAR, headline, mean_over_seeds

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Rows = Sequence[Mapping[str, str | int | float]]


@dataclass(frozen=True)
class Curve:
    """A cell's recall of one story over distance.

    distances           that all its seeds were asked at
    mean, low, high     accuracy over the seeds at each distance, and its 95 % interval by bootstrap over them
    longest             by seed: the longest distance recalled at 95 %, all shorter ones too; None: not the shortest
    """

    cell: str
    distances: tuple[int, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    longest: dict[int, int | None]

    @property
    def headline(self) -> int | None:
        """The longest distance that four of five seeds recall at 95 %."""
        return headline(list(self.longest.values()))


def curves(rows: Rows, story: str) -> list[Curve]:
    """The curve of each cell of a story, in the order of the rows, without those that asked for nothing."""
    found = []
    own = [row for row in rows if row["story"] == story and row["accuracy"] != ""]
    for cell in dict.fromkeys(str(row["cell"]) for row in own):
        by_seed: dict[int, dict[int, float]] = {}
        for row in own:
            if row["cell"] == cell:
                by_seed.setdefault(int(row["seed"]), {})[int(row["distance"])] = float(row["accuracy"])
        distances = sorted(set.intersection(*(set(seed) for seed in by_seed.values())))
        means = [mean_over_seeds([seed[distance] for seed in by_seed.values()]) for distance in distances]
        mean, low, high = zip(*means, strict=True)
        longest = {seed: _longest(shares) for seed, shares in by_seed.items()}
        found.append(Curve(cell, tuple(distances), mean, low, high, longest))
    return found


def _longest(shares: Mapping[int, float]) -> int | None:
    longest = None
    for distance in sorted(shares):
        if shares[distance] < BAR:
            break
        longest = distance
    return longest


def recall_picture(rows: Rows, story: str) -> Figure:
    """Recall over distance (log axis): a line a cell, its interval over seeds as a band, and a line at chance.

    What lies beyond the distance of the training is shaded. Raises ValueError where no cell has two distances.
    """
    from matplotlib.ticker import FuncFormatter, NullLocator

    from storyline.memory.report.drawing import drawn
    from storyline.memory.report.figures import recall_figure

    drawable = [curve for curve in curves(rows, story) if len(curve.distances) > 1]
    if not drawable:
        raise ValueError(f"no cell of {story} was asked at two distances; there is no line to draw")
    distances = sorted(set.intersection(*(set(curve.distances) for curve in drawable)))
    own = [row for row in rows if row["story"] == story and row["accuracy"] != ""]

    def at(curve: Curve, values: Sequence[float]) -> list[float]:
        return [values[curve.distances.index(distance)] for distance in distances]

    @drawn
    def draw() -> Figure:
        figure = recall_figure(
            distances,
            {curve.cell: at(curve, curve.mean) for curve in drawable},
            chance=sum(float(row["chance"]) for row in own) / len(own),
            ceiling=BAR,
            ceiling_name="95 %",
            trained_to=int(own[0]["trained_distance"]),
            spread={curve.cell: (at(curve, curve.low), at(curve, curve.high)) for curve in drawable},
            xlabel=f"{story}: distance between the fact and the question",
        )
        axes = figure.axes[0]
        # Cells that recall alike lie on one another: the first are drawn wider, so that they are seen behind the last.
        for behind, line in enumerate(reversed(axes.lines[: len(drawable)])):
            line.set_linewidth(1.4 + 0.7 * behind)
            line.set_markersize(4 + 1.2 * behind)
        axes.set_xscale("log")
        axes.set_xticks(distances)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(int(value))))
        axes.xaxis.set_minor_locator(NullLocator())
        return figure

    return draw()


def _short(distance: int) -> str:
    """25,000 as 25k, which has room on the axis beside 50k."""
    return str(distance) if distance < 1_000 else f"{distance / 1_000:g}k"


def table(rows: Rows) -> str:
    """One line a story and cell: the headline, the longest distance of every seed, accuracy at the longest asked."""
    lines = []
    for story in dict.fromkeys(str(row["story"]) for row in rows):
        for curve in curves(rows, story):
            if len(curve.distances) < 2:
                lines.append(f"{story:18} {curve.cell:12} {curve.mean[0]:.0%} at {curve.distances[0]:,}")
                continue
            seeds = " ".join(f"{each:,}" if each else "-" for each in curve.longest.values())
            said = f"recalls {curve.headline:,}" if curve.headline else "recalls none"
            lines.append(
                f"{story:18} {curve.cell:12} {said} at 95 % (by seed: {seeds}); "
                f"{curve.mean[-1]:.0%} at {curve.distances[-1]:,}"
            )
    return "\n".join(lines)
