"""How good written texts are against what people wrote: BLEU and chrF of translations, ROUGE of summaries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_EXTRA = "pip install 'storyline[metrics]'"


def translation_scores(outputs: Sequence[str], references: Sequence[str]) -> dict[str, float | str]:
    """The `bleu` and `chrf` of a whole set, from 0 to 100, and the signatures that say how they were computed.

    Both by sacreBLEU (Post 2018) of raw text: BLEU (Papineni et al. 2002) of its tokens 13a and with case, chrF2 of its
    characters (Popović 2015). Raises ImportError, with what to install, where sacreBLEU is missing.
    """
    _checked(outputs, references)
    try:
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF
    except ImportError:
        raise ImportError(f"BLEU and chrF need sacrebleu, which is not installed; run {_EXTRA}") from None
    found: dict[str, float | str] = {}
    for name, metric in (("bleu", BLEU()), ("chrf", CHRF())):
        found[name] = float(metric.corpus_score(list(outputs), [list(references)]).score)
        found[f"{name}_signature"] = str(metric.get_signature())
    return found


def summary_scores(outputs: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """The `rouge1`, `rouge2` and `rougeL` of a whole set, between 0 and 1.

    Each is the mean over the texts of the F1 of what output and reference share (Lin 2004): words, pairs of words, and
    the longest common subsequence of words; after Porter's stemmer, by rouge-score.
    Raises ImportError, with what to install, where rouge-score is missing.
    """
    _checked(outputs, references)
    try:
        from rouge_score.rouge_scorer import RougeScorer  # type: ignore[import-untyped]
    except ImportError:
        raise ImportError(f"ROUGE needs rouge-score, which is not installed; run {_EXTRA}") from None
    kinds = ("rouge1", "rouge2", "rougeL")
    scorer = RougeScorer(kinds, use_stemmer=True)
    scores = [scorer.score(reference, output) for output, reference in zip(outputs, references, strict=True)]
    return {kind: float(np.mean([score[kind].fmeasure for score in scores])) for kind in kinds}


def _checked(outputs: Sequence[str], references: Sequence[str]) -> None:
    if len(outputs) != len(references) or not len(outputs):
        raise ValueError(
            f"there are {len(outputs)} outputs and {len(references)} references; give one for each of at least one"
        )
