"""A phrase-based translator, from pairs of raw texts to translated raw text: what translated before neural networks.

The recipe of Koehn, Och and Marcu (2003) and of Moses: words aligned both ways by a hidden Markov model, symmetrised;
smoothed phrase and lexical weights, lexical reordering; a 5-gram Kneser-Ney model of the target; weights tuned for BLEU
on held-out pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np

from benchmarks.tasks.backing_off import SentenceModel
from benchmarks.tasks.joined_words import TruecasedWords
from benchmarks.tasks.phrase_decoder import JUDGED, Limits, PhraseDecoder
from benchmarks.tasks.phrase_table import PhraseTable
from benchmarks.tasks.phrase_tuning import tune
from benchmarks.tasks.word_alignment import HiddenMarkovAligner, Links, symmetrised

FIRST = {
    "p(target | source)": 0.2,
    "p(source | target)": 0.15,
    "lex(target | source)": 0.2,
    "lex(source | target)": 0.15,
    "phrases": 0.1,
    "words": 0.3,
    "language model": 0.5,
    "distance": 0.1,
    "monotone": 0.2,
    "swapped": 0.2,
    "discontinuous": 0.2,
}


class PhraseTranslator:
    """Learns from pairs of texts; the weights from other pairs. After fit: weights_, by the names of JUDGED."""

    def fit(
        self,
        sources: Sequence[str],
        targets: Sequence[str],
        held_out: tuple[Sequence[str], Sequence[str]],
        *,
        rounds: int = 8,
    ) -> Self:
        """Count in the pairs, then tune for some rounds on those held out."""
        self._words = TruecasedWords(sources)
        heard = TruecasedWords(targets)
        read, made = [self._words.tokens(text) for text in sources], [heard.tokens(text) for text in targets]
        ahead = HiddenMarkovAligner(Links(read, made)).alignments()
        back = HiddenMarkovAligner(Links(made, read)).alignments()
        alignments = [symmetrised(one, other) for one, other in zip(ahead, back, strict=True)]
        table, language = PhraseTable().fit(read, made, alignments), SentenceModel(made)
        weights = tune(
            lambda weights: PhraseDecoder(table, language, weights, Limits(stack=30)),
            [self._words.tokens(text) for text in held_out[0]],
            [heard.tokens(text) for text in held_out[1]],
            np.array([FIRST[name] for name in JUDGED]),
            rounds=rounds,
        )
        self.weights_ = dict(zip(JUDGED, weights.tolist(), strict=True))
        self._decoder = PhraseDecoder(table, language, weights)
        return self

    def predict(self, texts: Sequence[str]) -> list[str]:
        """A translation a text."""
        return [self._words.text(self._decoder.translate(self._words.tokens(text))) for text in texts]
