"""ROUGE-1, ROUGE-2 and ROUGE-L of summaries by rouge-score, with a bootstrap interval over the texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rouge_score.rouge_scorer import RougeScorer

KINDS = ("rouge1", "rouge2", "rougeL")
NAMES = {"rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeL": "ROUGE-L"}


def rouge(references: Sequence[str], summaries: Sequence[str]) -> np.ndarray:
    """F1 of each summary in percent, (n, 3), with Porter's stemmer, as rouge-score's defaults have it (Lin 2004)."""
    scorer = RougeScorer(KINDS, use_stemmer=True)
    found = [
        scorer.score(reference, summary) for reference, summary in zip(references, summaries, strict=True)
    ]
    return 100 * np.array([[scores[kind].fmeasure for kind in KINDS] for scores in found])


def means(scores: np.ndarray) -> dict[str, float]:
    """The mean of each kind by its name."""
    return {NAMES[kind]: float(value) for kind, value in zip(KINDS, scores.mean(axis=0), strict=True)}


def interval(scores: np.ndarray, draws: int = 1000) -> tuple[float, float]:
    """The 95 % bootstrap interval of the mean of `scores` (n,), over the texts."""
    generator = np.random.default_rng(0)
    rows = generator.integers(len(scores), size=(draws, len(scores)))
    low, high = np.percentile(scores[rows].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)
