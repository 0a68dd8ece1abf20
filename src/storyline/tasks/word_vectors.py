"""Word vectors: learned from the user's text or loaded from a file, asked for neighbours, given to a model."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from storyline.artifact import write_whole
from storyline.data import (
    WordEncoder,
    learn_word_vectors,
    packed,
    read_text,
    read_word_vectors,
    word2vec_text,
)
from storyline.tasks.inputs import check_list, refuse_surrogates
from storyline.tasks.settings import SEEDS, check_settings

StrPath = str | Path
Algorithm = Literal["skip-gram", "cbow"]


class WordVectorSettings(BaseModel):
    """Settings of WordVectors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    algorithm: Algorithm
    embedding_size: PositiveInt
    window: PositiveInt
    negative: PositiveInt
    min_count: PositiveInt
    subsample: Annotated[float, Field(ge=0, lt=1)]
    epochs: PositiveInt
    learning_rate: PositiveFloat
    lowercase: bool
    whitespace: bool
    seed: Annotated[int, Field(ge=0, lt=SEEDS)]
    threads: PositiveInt


class WordVectors(BaseEstimator):  # type: ignore[misc]
    """A vector a word: words that stand in like places have like vectors.

    `fit` learns them from texts through gensim (`pip install 'storyline[vectors]'`); `load` reads those of word2vec,
    GloVe or fastText. A Classifier, Tagger or LanguageModel starts from them: `fit(..., vectors=vectors)`.

    algorithm       "skip-gram": a word foretells its neighbours; or "cbow": the mean of the neighbours foretells it
                    (faster, worse on rare words). Mikolov et al. 2013
    embedding_size  numbers of a vector
    window          neighbours are at most so many words away
    negative        words drawn against each neighbour
    min_count       a word seen less often has no vector
    subsample       a word that is more than this share of the text is left out at random; 0: none is
    epochs          passes over the texts
    learning_rate   at the beginning; it falls evenly to .0001
    lowercase, whitespace: how a text is cut into words, as in Classifier and LanguageModel
    seed            of everything random: with one thread the same vectors, bit for bit
    threads         with more than one each fit gives other vectors, because the threads overwrite each other

    After fit or load: words_ (the most frequent first; of a file its order), vectors_ (words, embedding_size) float32,
    counts_ (after fit: how often each word came), duplicates_ (after load: lines left out because their word had
    come before).
    """

    words_: tuple[str, ...]
    vectors_: NDArray[np.float32]
    counts_: NDArray[np.int64]
    duplicates_: int = 0

    def __init__(
        self,
        *,
        algorithm: Algorithm = "skip-gram",
        embedding_size: int = 100,
        window: int = 5,
        negative: int = 5,
        min_count: int = 5,
        subsample: float = 0.001,
        epochs: int = 5,
        learning_rate: float = 0.025,
        lowercase: bool = True,
        whitespace: bool = False,
        seed: int = 0,
        threads: int = 1,
    ) -> None:
        self.algorithm, self.embedding_size, self.window = algorithm, embedding_size, window
        self.negative, self.min_count, self.subsample = negative, min_count, subsample
        self.epochs, self.learning_rate = epochs, learning_rate
        self.lowercase, self.whitespace = lowercase, whitespace
        self.seed, self.threads = seed, threads

    def fit(self, X: Sequence[str] | str | Path, y: None = None, *, start: WordVectors | None = None) -> Self:
        """Learn from X: a list of texts, one text, or the Path of a file of text (.gz too); y is not read.

        Neighbours are sought within a text, past its line breaks too. start: vectors to begin from, where they
        know a word; of the same embedding_size.
        Raises ValueError for settings, texts or a start that do not fit, ModuleNotFoundError without gensim.
        """
        settings = check_settings(WordVectorSettings, self.get_params(deep=False))
        if start is not None:
            size = check_vectors(start, "start").shape[1]
            if size != settings.embedding_size:
                raise ValueError(
                    f"start has vectors of {size} numbers, and embedding_size is {settings.embedding_size}; "
                    f"set embedding_size={size}"
                )
        encoder = WordEncoder(lowercase=settings.lowercase, whitespace=settings.whitespace)
        texts = [encoder.tokens(text) for text in _texts(X)]
        options = settings.model_dump(exclude={"embedding_size", "lowercase", "whitespace"})
        learned = learn_word_vectors(
            texts,
            **options,
            size=settings.embedding_size,
            start=None if start is None else (start.words_, start.vectors_),
        )
        self._take(learned.words, learned.vectors)
        self.counts_ = learned.counts
        return self

    @classmethod
    def load(cls, path: StrPath, *, limit: int | None = None) -> Self:
        """The vectors of a text file of word2vec, GloVe or fastText, .gz too; limit: of its first so many lines only.

        Raises DataError, with the line, for a file that is no such thing; see `data.read_word_vectors`.
        """
        table = read_word_vectors(path, limit)
        loaded = cls(embedding_size=table.vectors.shape[1])
        loaded._take(table.words, table.vectors)
        loaded.duplicates_ = table.duplicates
        return loaded

    @classmethod
    def of(cls, words: Sequence[str], vectors: NDArray[Any]) -> Self:
        """Vectors (words, size) that were made elsewhere."""
        found = np.array(vectors, dtype=np.float32)
        if found.ndim != 2 or len(found) != len(words) or 0 in found.shape:
            raise ValueError(
                f"there are {len(words)} words and vectors of shape {found.shape}; give one row a word"
            )
        if len(set(words)) != len(words):
            raise ValueError("a word comes twice; give every word once")
        if not np.isfinite(found).all():
            raise ValueError("vectors hold NaN or infinity; give finite numbers")
        made = cls(embedding_size=found.shape[1])
        made._take(tuple(words), found)
        return made

    def save(self, path: StrPath) -> None:
        """Write word2vec's text format, compressed where the name ends in .gz; read again it gives the same bits."""
        check_is_fitted(self)
        compress = str(path).endswith(".gz")
        write_whole(path, packed(word2vec_text(self.words_, self.vectors_), compress=compress))

    def __len__(self) -> int:
        check_is_fitted(self)
        return len(self.words_)

    def __contains__(self, word: object) -> bool:
        check_is_fitted(self)
        return word in self._index

    def __getitem__(self, word: str) -> NDArray[np.float32]:
        """The vector of a word (embedding_size,); ValueError, with the nearest spellings, for an unknown one."""
        vector: NDArray[np.float32] = self.vectors_[self._row(word)]
        return vector

    def rows(self, words: Sequence[str | None]) -> NDArray[np.int64]:
        """Where in `vectors_` the vector of each word stands, (words,); -1 for a word without one, and for None."""
        check_is_fitted(self)
        found = self._index
        return np.array([-1 if word is None else found.get(word, -1) for word in words], dtype=np.int64)

    def nearest(self, word: str, k: int = 10) -> list[tuple[str, float]]:
        """The k words whose vectors have the greatest cosine with that of `word`, and the cosines."""
        row = self._row(word)
        return self._greatest(self._unit[row], [row], k)

    def analogy(self, a: str, b: str, c: str, k: int = 5) -> list[tuple[str, float]]:
        """What is to c as b is to a: the k words with the greatest cosine with b - a + c, and the cosines.

        Of unit vectors, a, b and c themselves left out: "man", "king", "woman" asks for "queen" (Mikolov, Yih, Zweig
        2013, "Linguistic regularities in continuous space word representations", section 4).
        """
        rows = [self._row(word) for word in (a, b, c)]
        unit = self._unit
        target = unit[rows[1]] - unit[rows[0]] + unit[rows[2]]
        return self._greatest(target / max(float(np.linalg.norm(target)), 1e-12), rows, k)

    def _take(self, words: tuple[str, ...], vectors: NDArray[np.float32]) -> None:
        self.words_, self.vectors_ = words, vectors
        self._index = {word: row for row, word in enumerate(words)}
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        self._unit = vectors / np.maximum(lengths, 1e-12)

    def _row(self, word: str) -> int:
        check_is_fitted(self)
        if word not in self._index:
            near = _spelled_like(word, self.words_)
            hint = f"; near it are {', '.join(map(repr, near))}" if near else ""
            raise ValueError(f"{word!r} is none of the {len(self.words_):,} words that have a vector{hint}")
        return self._index[word]

    def _greatest(self, target: NDArray[np.float32], without: list[int], k: int) -> list[tuple[str, float]]:
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
            raise ValueError(f"k is {k!r}; it must be a whole number, at least 1")
        cosines = self._unit @ target
        cosines[without] = -np.inf
        best = np.argsort(-cosines, kind="stable")[: min(k, len(cosines) - len(set(without)))]
        return [(self.words_[row], float(cosines[row])) for row in best]


def check_vectors(vectors: Any, name: str = "vectors") -> NDArray[np.float32]:
    """The array of fitted or loaded WordVectors; ValueError where `vectors` is none."""
    if not isinstance(vectors, WordVectors):
        raise ValueError(
            f"{name} is of the type {type(vectors).__name__}; give WordVectors, of a file WordVectors.load(path)"
        )
    check_is_fitted(vectors)
    return vectors.vectors_


def _texts(X: Any) -> list[str]:
    if isinstance(X, Path):
        return [read_text(X)]
    if isinstance(X, str) and "\n" not in X and len(X) < 256 and Path(X).is_file():
        raise ValueError(f"X is {X!r}, which would be read as a text, and is a file; give Path({X!r})")
    texts = [X] if isinstance(X, str) else check_list(X, "X", "texts")
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(
                f"X[{index}] is {type(text).__name__}; give texts, or the Path of a file of text"
            )
        refuse_surrogates(text, f"X[{index}]")
    return texts


def _spelled_like(word: Any, words: Sequence[str]) -> list[str]:
    # Only words of about its length: a file may hold millions.
    lower = str(word).lower()
    about = {known.lower(): known for known in reversed(words) if abs(len(known) - len(lower)) <= 2}
    return [about[near] for near in get_close_matches(lower, about, n=3)]
