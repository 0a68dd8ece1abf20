"""The words of an Answerer: which it knows, where their vectors start, and what "auto" becomes from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from storyline.data import TextEncoder, WordEncoder, ppmi_vectors
from storyline.tasks.answer_stories import one_line, sentences_of
from storyline.tasks.answer_texts import Asked, Mode
from storyline.tasks.estimator import steps_to_remember
from storyline.tasks.inputs import check_texts
from storyline.tasks.settings import AnswererSettings
from storyline.tasks.starting_vectors import StartingVectors, encoder_vectors, joined
from storyline.tasks.word_vectors import WordVectors

# A word of the unlabelled texts joins the vocabulary where it occurs so often.
_FREQUENT = 5
# From how many words on their first vectors are learned from the texts where that is "auto".
_MANY_WORDS = 5_000
# Most words of an answer that is pointed at, where that is "auto": 97 % of SQuAD's answers are no longer.
_LONGEST_SPAN = 15
# Standard deviation of the entries of the first vectors, as in a text classifier.
_SPREAD = 0.28


def learn_words(
    training: Asked,
    unlabelled: Sequence[str] | None,
    vectors: WordVectors | None,
    settings: AnswererSettings,
) -> tuple[WordEncoder, StartingVectors | None]:
    """The encoder of the training part's words, and first vectors where there are some; `mode` is no longer "auto".

    Frequent words of the unlabelled texts, or the first of those that have given vectors, join with a count of 0, so
    that words that the training part lacks have a vector, too.
    """
    assert settings.embedding_size != "auto"
    span = settings.mode == "span"
    _check_sources(unlabelled, vectors, span=span)
    texts = [*dict.fromkeys(training.contexts), *training.questions]
    if not span:
        texts += [one_line(right[0]) for right in training.answers or []]
    encoder = WordEncoder(
        lowercase=settings.lowercase,
        min_count=settings.min_count,
        max_size=settings.max_vocabulary,
        end=not span,
    ).fit(texts)
    if vectors is not None:
        encoder = _extended(encoder, vectors.words_, settings.max_vocabulary)
        return encoder, encoder_vectors(vectors, encoder, settings.seed)
    wanted = encoder.size > _MANY_WORDS or unlabelled is not None
    if settings.word_vectors != "auto":
        wanted = settings.word_vectors
    if not (span and wanted):
        return encoder, None
    more = [] if unlabelled is None else check_texts(unlabelled, "unlabelled")
    tokens = [encoder.tokens(text) for text in [*texts, *more]]
    counts = Counter(word for words in tokens for word in words)
    frequent = sorted(
        (word for word, count in counts.items() if count >= _FREQUENT), key=lambda word: (-counts[word], word)
    )
    encoder = _extended(encoder, frequent, settings.max_vocabulary)
    size = settings.embedding_size
    found = ppmi_vectors(tokens, encoder.vocabulary, size, seed=settings.seed, name="embedding_size")
    return encoder, StartingVectors(found * np.float32(_SPREAD * size**0.5))


def _check_sources(unlabelled: Sequence[str] | None, vectors: WordVectors | None, *, span: bool) -> None:
    if unlabelled is not None and vectors is not None:
        raise ValueError(
            "unlabelled texts teach word vectors, and vectors were given; leave one of the two out"
        )
    for name, given in (("unlabelled texts", unlabelled), ("vectors", vectors)):
        if given is not None and not span:
            raise ValueError(f"{name} were given, which mode='generate' does not use; leave them out")


def resolve_answerer(
    settings: AnswererSettings, mode: Mode, training: Asked, words: WordEncoder, *, validated: bool
) -> AnswererSettings:
    """The settings with every "auto" replaced, as the docstring of Answerer says."""
    assert training.answers is not None
    if mode == "span":
        steps = [len(words.offsets(context)) for context in dict.fromkeys(training.contexts)]
        longest = _LONGEST_SPAN
    else:
        steps = [len(sentences_of(context)) for context in training.contexts]
        longest = max(len(words.tokens(one_line(right[0]))) for right in training.answers)
    update = {
        "remember": steps_to_remember(settings, float(np.percentile(steps, 95))),
        "longest": longest if settings.longest == "auto" else settings.longest,
        "dropout": (0.3 if mode == "span" else 0.1) if settings.dropout == "auto" else settings.dropout,
    }
    return settings.model_copy(update=update if validated else {**update, "patience": None})


def _extended(encoder: WordEncoder, words: Sequence[str], max_vocabulary: int | None) -> WordEncoder:
    larger = joined(encoder.vocabulary, words, max_vocabulary)
    extended = TextEncoder.from_document(encoder.to_document() | {"vocabulary": larger.to_document()})
    assert isinstance(extended, WordEncoder)
    return extended
