"""From sources to outputs: batches of like length, each searched by a beam."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from numbers import Real
from typing import Any, Self

import numpy as np
import torch

from storyline.data import TokenPairs, collate
from storyline.layers import CopyingHead, packed
from storyline.search import Beam, Hypothesis, Limits, beam_search
from storyline.tasks.generation import check_count
from storyline.tasks.text_to_text_network import SourceToTarget

# Hypotheses times source tokens, padding included, that are searched side by side.
_PLACES = 8_000
# Tokens of sources that were there before, from which on it pays to make an encoder ready for them.
_REPEATED = 1_500
# What an output may have beyond what training saw for a source of its length.
_SLACK = 5
# Shorter sources say nothing about the ratio of lengths.
_TELLING = 5


@dataclass(frozen=True)
class Lengths:
    """How long an output may become, from what was seen in training; lengths are in tokens.

    source, target  the longest seen
    ratio           the most target tokens for a source token, among sources of five tokens or more
    """

    source: int
    target: int
    ratio: float

    @classmethod
    def of(cls, pairs: TokenPairs) -> Self:
        """What training pairs say."""
        sources, targets = pairs.source_lengths, pairs.target_lengths
        telling = sources >= _TELLING
        ratio = (targets[telling] / sources[telling]).max() if telling.any() else targets.max()
        return cls(int(sources.max()), int(targets.max()), float(ratio))

    def output(self, source: int) -> int:
        """The most tokens that the output of a source of so many may have."""
        beyond = max(1.0, source / self.source)
        return math.ceil(min(self.ratio * max(source, _TELLING), self.target * beyond)) + _SLACK

    def to_document(self) -> dict[str, Any]:
        return asdict(self)


def asked_beam(
    n: int,
    beam: int | None,
    length_penalty: float,
    coverage_penalty: float,
    *,
    usual: int,
    vocabulary: int,
    attends: bool,
) -> Beam:
    """The search for the n best outputs that predict's arguments ask for; ValueError names one that does not fit.

    beam  None: `usual`, or as many as the vocabulary has tokens where that is fewer
    """
    n = check_count(n, "n", 1)
    width = check_count(usual if beam is None else beam, "beam", 1)
    if beam is None:
        width = min(vocabulary, max(n, width))
    for name, value in (("beam", width), ("n", n)):
        if value > vocabulary:
            raise ValueError(
                f"{name} is {value}, and the vocabulary has {vocabulary} tokens; a beam keeps no more than that, and "
                "5 to 50 are enough"
            )
    for name, penalty in (("length_penalty", length_penalty), ("coverage_penalty", coverage_penalty)):
        if isinstance(penalty, bool) or not isinstance(penalty, Real) or not 0 <= penalty < math.inf:
            raise ValueError(f"{name} is {penalty!r}; it must be a number, 0 or more")
    if coverage_penalty and not attends:
        raise ValueError(
            f"coverage_penalty is {coverage_penalty}, and this model has no attention to cover the source with; set "
            "it to 0"
        )
    width = max(n, width)
    # All that were found, where several are wanted: some may spell the same text.
    return Beam(width, float(length_penalty), float(coverage_penalty), n_best=width if n > 1 else 1)


def write(
    network: SourceToTarget,
    sources: Sequence[np.ndarray],
    beam: Beam,
    lengths: Lengths,
    end_id: int,
    *,
    attention: bool = False,
) -> list[tuple[Hypothesis, ...]]:
    """The best outputs of each source, in their order; sources (tokens,) of one token or more.

    attention: give that of each output, too. Sources of like length are searched side by side, which changes no output.
    Call it in evaluation mode.
    """
    found: list[tuple[Hypothesis, ...]] = [()] * len(sources)
    # A copying head mixes whole distributions.
    if not isinstance(network.head, CopyingHead):
        read = np.concatenate(sources) if sources else np.empty(0)
        network = packed(network, encoders=len(read) - len(np.unique(read)) >= _REPEATED)
    for places in _batches([len(source) for source in sources], beam.width):
        batch = collate(sources, places)
        begin = torch.full((len(places),), end_id)
        maximum = torch.tensor([lengths.output(len(sources[place])) for place in places])
        limits = Limits(begin, end_id, maximum, forbidden=(network.target.pad_id,))
        with torch.no_grad():
            state = network.begin(batch.inputs, batch.lengths)
        result = beam_search(network, state, beam, limits, source_lengths=batch.lengths, attention=attention)
        for place, hypotheses in zip(places, result.hypotheses, strict=True):
            found[place] = hypotheses
    return found


def _batches(lengths: Sequence[int], width: int) -> list[list[int]]:
    """Places by rising length, so many together as fit."""
    batches: list[list[int]] = []
    for place in np.argsort(lengths, kind="stable").tolist():
        if not batches or (len(batches[-1]) + 1) * lengths[place] * width > _PLACES:
            batches.append([])
        batches[-1].append(place)
    return batches
