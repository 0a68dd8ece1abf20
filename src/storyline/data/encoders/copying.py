"""copy_unknown: what stands for an unknown word of an output, taken from the source."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from storyline.data.encoders.pair import PairEncoder
from storyline.data.encoders.words import WordEncoder
from storyline.data.source import DataError


def copy_unknown(
    ids: Iterable[int], attention: NDArray[np.floating], source: str, encoder: PairEncoder
) -> str:
    """The text of `ids`, each `<unk>` replaced by the word of `source` that had the most attention at that step.

    ids        of the output, without its end
    attention  (steps, source tokens) as the decoder gave it for the ids that `encoder.encode_sources` made of
               `source`, which end in `<end>`: that is never copied. Further steps and tokens (padding) are not read
    Source: Jean, Cho, Memisevic and Bengio 2015, section 3.3 (an unknown word becomes the source word that is
    aligned with it), with the attention as the alignment, as in Luong, Pham and Manning 2015, section 4.1.
    Words only: characters and byte pairs write any word. A source without words leaves `<unk>` as it is.
    """
    if not isinstance(encoder.source, WordEncoder) or not isinstance(encoder.target, WordEncoder):
        raise DataError(
            f"unknown words can be copied from words to words, and the levels are {encoder.source.level!r} and "
            f"{encoder.target.level!r}; only words can be unknown, so leave the copying out"
        )
    output, words = [int(id_) for id_ in ids], encoder.source.tokens(source)
    if attention.ndim != 2 or len(attention) < len(output) or attention.shape[1] < len(words):
        raise DataError(
            f"attention has shape {attention.shape}; a row for each of {len(output)} ids and a column for each of "
            f"{len(words)} words of the source were wanted"
        )
    unknown = encoder.target.unknown_id
    copies = (
        [words[attention[step, : len(words)].argmax()] for step, id_ in enumerate(output) if id_ == unknown]
        if words
        else None
    )
    return encoder.target.decode(output, unknown=copies)
