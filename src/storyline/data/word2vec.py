"""Word vectors from the text at hand by gensim: skip-gram or CBOW with negative sampling."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from storyline.data.source import DataError

# gensim drops what a sentence has beyond so many words, and says nothing.
_LONGEST = 10_000


@dataclass(frozen=True, eq=False)
class Learned:
    """Words by falling count, how often each came, and their vectors (n, size) float32."""

    words: tuple[str, ...]
    counts: NDArray[np.int64]
    vectors: NDArray[np.float32]


def learn_word_vectors(
    texts: Sequence[Sequence[str]],
    *,
    algorithm: str,
    size: int,
    window: int,
    negative: int,
    min_count: int,
    subsample: float,
    epochs: int,
    learning_rate: float,
    seed: int,
    threads: int,
    start: tuple[Sequence[str], NDArray[np.float32]] | None = None,
) -> Learned:
    """Vectors of the words that come at least `min_count` times in the tokenised texts.

    "skip-gram" foretells each word within a distance of at most `window` (drawn from 1 to window) from the word,
    "cbow" the word from the mean of those, against `negative` words drawn by count^.75 (Mikolov et al. 2013,
    "Distributed representations of words and phrases and their compositionality", eq. 4); a word that makes up more
    than the share `subsample` of the text is left out at random (section 2.3). With one thread the same bits
    for a seed. start: words and vectors to begin with, where the texts have those words.
    Raises DataError where the texts have fewer than two words often enough.
    """
    word2vec = _gensim()
    sentences = [text[place : place + _LONGEST] for text in texts for place in range(0, len(text), _LONGEST)]
    counts = Counter(word for sentence in sentences for word in sentence)
    often = sum(count >= min_count for count in counts.values())
    if often < 2:
        raise DataError(
            f"the texts have {len(counts):,} different words, {often} of which come at least {min_count} times; "
            "two are needed, so give more text, or a smaller min_count"
        )
    model = word2vec.Word2Vec(
        vector_size=size,
        window=window,
        min_count=min_count,
        sample=subsample,
        # NumPy's older generator takes seeds of 32 bits only.
        seed=seed % 2**32,
        workers=threads,
        sg=int(algorithm == "skip-gram"),
        negative=negative,
        alpha=learning_rate,
        epochs=epochs,
        # The learning rate falls from batch to batch, so that a short text needs small ones.
        batch_words=min(_LONGEST, max(10, counts.total() // 100)),
    )
    model.build_vocab_from_freq(counts, corpus_count=len(sentences))
    if start is not None:
        for word, vector in zip(*start, strict=True):
            if word in model.wv.key_to_index:
                model.wv.vectors[model.wv.key_to_index[word]] = vector
    model.train(sentences, total_examples=len(sentences), epochs=epochs)
    words = tuple(model.wv.index_to_key)
    found = np.array([counts[word] for word in words], dtype=np.int64)
    return Learned(words, found, np.asarray(model.wv.vectors, dtype=np.float32))


def _gensim() -> ModuleType:
    """The word2vec of gensim, which takes most of a second to import; it is an extra."""
    try:
        from gensim.models import word2vec  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"learning word vectors needs gensim, and {error.name} is not installed; "
            "run pip install 'storyline[vectors]'"
        ) from None
    module: ModuleType = word2vec
    return module
