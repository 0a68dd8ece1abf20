"""How good translations are: what `storyline evaluate` says, BLEU and chrF, and beside them TER and margins.

References are what the publisher wrote; a system hands over text as a reader would get it, so that no choice of its
own tokens or its own case moves its score. Source: M. Post (2018), "A call for clarity in reporting BLEU scores".
"""

from __future__ import annotations

from dataclasses import dataclass

from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.ter import TER

from storyline.tasks.text_scores import translation_scores

SAMPLES = 1000


@dataclass(frozen=True)
class TranslationScores:
    """BLEU and chrF, higher is better, and TER, lower is better, all in percent; TER alone takes "a" for "A".

    bleu_margin, ter_margin  half the width of the 95 % bootstrap interval over sentences (Koehn 2004)
    """

    bleu: float
    bleu_margin: float
    chrf: float
    ter: float
    ter_margin: float

    def details(self) -> dict[str, float]:
        """By the names of a row's columns."""
        return {
            "BLEU": self.bleu,
            "BLEU 95 % interval ±": self.bleu_margin,
            "chrF": self.chrf,
            "TER": self.ter,
            "TER 95 % interval ±": self.ter_margin,
        }


def score(translations: list[str], references: list[str]) -> TranslationScores:
    """One translation and one reference a sentence, in the same order."""
    plain = translation_scores(translations, references)
    # sacreBLEU shows the interval only inside a sentence for people, as `_ci`.
    bleu = BLEU().corpus_score(translations, [references], n_bootstrap=SAMPLES)
    ter = TER().corpus_score(translations, [references], n_bootstrap=SAMPLES)
    return TranslationScores(
        bleu=float(plain["bleu"]),
        bleu_margin=float(bleu._ci),
        chrf=float(plain["chrf"]),
        ter=ter.score,
        ter_margin=float(ter._ci),
    )


def signature() -> str:
    """The signature, by sacreBLEU, of the BLEU that `score` computes, without its bootstrap."""
    return str(translation_scores(["."], ["."])["bleu_signature"])


def share_closed(system: TranslationScores, baseline: TranslationScores) -> dict[str, float]:
    """How much of the way from a baseline to the references a system goes, in percent, by BLEU and by TER.

    By BLEU (system - baseline) / (100 - baseline); by TER, of which a reference has 0, (baseline - system) / baseline.
    """
    by_bleu = (system.bleu - baseline.bleu) / (100 - baseline.bleu)
    by_ter = (baseline.ter - system.ter) / baseline.ter
    return {"share of the gap closed, BLEU": 100 * by_bleu, "share of the gap closed, TER": 100 * by_ter}
