"""Alignment: how much of each source token went into each target token, as numbers and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class Alignment:
    """The attention of one output.

    source, target  the tokens, as they are shown; the last of each is its end
    weights         (target, source): each row sums to 1, of local attention to less
    """

    source: Sequence[str]
    target: Sequence[str]
    weights: np.ndarray

    def plot(self, axes: Axes | None = None) -> Axes:
        """Draw the weights, source tokens from left to right, target tokens from top to bottom; gives the axes."""
        from matplotlib.figure import Figure

        if axes is None:
            size = (1.6 + 0.32 * len(self.source), 1.6 + 0.32 * len(self.target))
            axes = Figure(figsize=size, layout="constrained").add_subplot()
        image = axes.imshow(self.weights, cmap="Blues", vmin=0, vmax=1, aspect="equal")
        # Tokens may hold `$`, which would begin a formula.
        shown = [[token.replace("$", r"\$") for token in tokens] for tokens in (self.source, self.target)]
        axes.set_xticks(range(len(self.source)), shown[0], rotation=90)
        axes.set_yticks(range(len(self.target)), shown[1])
        axes.xaxis.tick_top()
        axes.xaxis.set_label_position("top")
        axes.set_xlabel("source")
        axes.set_ylabel("target")
        axes.figure.colorbar(image, ax=axes, label="attention", shrink=0.8)
        return axes
