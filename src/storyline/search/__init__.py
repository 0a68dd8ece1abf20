"""Search: from a model that scores the next token to whole outputs: greedy, sampled, or by beam."""

from storyline.search.beam import Beam, beam_search, greedy_search
from storyline.search.found import Found, Hypothesis
from storyline.search.sampling import Sampling, sample, seeded_chance
from storyline.search.scorer import Limits, Scorer

__all__ = [
    "Beam", "Found", "Hypothesis", "Limits", "Sampling", "Scorer", "beam_search", "greedy_search", "sample",
    "seeded_chance",
]  # fmt: skip
