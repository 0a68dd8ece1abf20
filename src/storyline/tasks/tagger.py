"""A tag for every word of a sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from storyline.artifact import Artifact
from storyline.data import DataError, Vocabulary, split_validation
from storyline.layers import MemoryProbe
from storyline.tasks.estimator import (
    Listeners,
    SequenceEstimator,
    StrPath,
    measuring,
    reproducible,
    steps_to_remember,
    unharmed,
)
from storyline.tasks.inputs import check_pair
from storyline.tasks.metrics import class_metrics, counts_by_class
from storyline.tasks.probe import as_trained
from storyline.tasks.sentences import Sentences, Tokens, check_sentences, check_tags, read_sentences
from storyline.tasks.settings import TaggerSettings, check_settings
from storyline.tasks.starting_vectors import (
    StartingVectors,
    embedding_size,
    joined,
    refuse_frozen_noise,
    starting_vectors,
    vector_identity,
)
from storyline.tasks.tagger_network import TaggerProgram, TokenTagger, log_probabilities, new_tagger
from storyline.tasks.tagger_probe import probe_tagger
from storyline.tasks.word_vectors import WordVectors

# Of a vector where nothing else says it.
_EMBEDDING_SIZE = 100


class Tagger(SequenceEstimator[TokenTagger]):
    """A recurrent tagger: parts of speech, entities, a label for each word.

    X is a list of sentences, each a list of words; y a list of tags for each. A word is read by what it is (a vector a
    word) and by how it is spelled (a bidirectional LSTM over its characters; of a word of more than 32, over the first
    and last 16), so that unknown words are not blank.

    core                 "lstm", "gru" or "rnn"
    hidden_size          units of each layer and direction
    num_layers           layers of the stack
    bidirectional        read from both ends
    remember             as in Classifier; "auto": the 95th percentile of the lengths of the training sentences
    lowercase            words are lowered before they are looked up; their spelling is not
    min_count            a word seen less often in training is <unk>
    max_vocabulary       at most so many words; None: all
    embedding_size       of a word's vector; "auto": that of the vectors that fit is given, else 100
    freeze_vectors       keep the vectors that fit is given as they are (other words' are learned); else they are tuned
    spelling_size        of the vector of its spelling, half for either direction
    character_size       of a character's vector
    word_dropout         a: in training a word of count n becomes <unk> with probability a / (a + n)
    dropout              of the vectors that the stack reads, between layers, and of the states that the head reads
    label_smoothing      share of the target that is spread over all tags
    learn_initial_state  make the state before the first word a parameter
    epochs               at most so many passes
    max_steps            at most so many steps, also in the middle of a pass; None: all passes
    batch_size           sentences a step
    learning_rate, weight_decay, schedule, warmup, clip_norm, average, validate_every, patience, restore_best,
    checkpoint_every, checkpoint_seconds, threads, device, precision: as in training.TrainingSettings
    validation_fraction  share of the sentences that is held out to choose the best weights; 0: none is
    seed                 of everything random
    backend              of the layers: "auto", "torch", "triton" or "reference"

    After fit: tags_ (the known tags, sorted), training_summary_, history_ (lines of metrics), network_ (the module),
    unknown_ (how many of how many words were unknown in what was last read).
    """

    task = "tag"
    settings_type = TaggerSettings
    resolved_: TaggerSettings
    words_: Vocabulary
    characters_: Vocabulary
    tag_vocabulary_: Vocabulary

    def __init__(
        self,
        *,
        core: Literal["lstm", "gru", "rnn"] = "lstm",
        hidden_size: int = 200,
        num_layers: int = 1,
        bidirectional: bool = True,
        remember: int | Literal["auto"] | None = "auto",
        lowercase: bool = True,
        min_count: int = 1,
        max_vocabulary: int | None = None,
        embedding_size: int | Literal["auto"] = "auto",
        freeze_vectors: bool = False,
        spelling_size: int = 100,
        character_size: int = 32,
        word_dropout: float = 0.25,
        dropout: float = 0.5,
        label_smoothing: float = 0.1,
        learn_initial_state: bool = False,
        epochs: int = 10,
        max_steps: int | None = None,
        batch_size: int = 32,
        learning_rate: float = 0.003,
        weight_decay: float = 0.01,
        schedule: Literal["cosine", "one_cycle", "constant"] = "cosine",
        warmup: float | None = None,
        clip_norm: float | None = 1.0,
        average: float | None = None,
        validation_fraction: float = 0.05,
        validate_every: int | None = None,
        patience: int | None = None,
        restore_best: bool = True,
        checkpoint_every: int | None = None,
        checkpoint_seconds: float | None = 30.0,
        seed: int = 0,
        threads: int | None = None,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        precision: Literal["32", "bf16"] = "32",
        backend: str = "auto",
    ) -> None:
        self._keep(locals())

    @property
    def tags_(self) -> list[str]:
        """The known tags, sorted."""
        return list(self.tag_vocabulary_.tokens)

    @unharmed
    def fit(
        self,
        X: Tokens,
        y: Tokens,
        *,
        validation: tuple[Tokens, Tokens] | None = None,
        vectors: WordVectors | None = None,
        folder: StrPath | None = None,
        resume: bool = False,
        events: Listeners = (),
    ) -> Self:
        """Learn from sentences X and their tags y; validation, vectors, folder, resume, events as in Classifier.fit.

        Raises ValueError for a setting that does not fit, an empty sentence or word, a sentence with more or fewer
        tags than words, and fewer than two different tags.
        """
        settings = check_settings(TaggerSettings, self.get_params(deep=False))
        size = embedding_size(settings.embedding_size, vectors, _EMBEDDING_SIZE)
        settings = settings.model_copy(update={"embedding_size": size})
        refuse_frozen_noise(settings.freeze_vectors, vectors)
        sentences, tags = check_sentences(X, "X"), check_sentences(y, "y")
        check_tags(sentences, tags)
        if not sentences:
            raise ValueError("X is empty; give at least one tagged sentence")
        self.tag_vocabulary_ = Vocabulary.of_labels(tag for sentence in tags for tag in sentence)
        if len(self.tag_vocabulary_) < 2:
            raise ValueError(f"y holds one tag, {self.tags_[0]!r}; a tagger needs at least two")
        rows = held_out = np.arange(len(sentences))
        if validation is not None or settings.validation_fraction == 0:
            held_out = rows[:0]
        elif len(sentences) == 1:
            raise ValueError(
                "X is a single sentence, none of which can be held out; give more, or set validation_fraction=0"
            )
        else:
            rows, held_out = split_validation(len(sentences), settings.validation_fraction, settings.seed)
        start = self._learn_words([sentences[row] for row in rows], vectors, settings)
        everything = self._read_tagged(sentences, tags)
        training = everything.take(rows)
        checked = (
            self._read_tagged(*check_pair(validation))
            if validation is not None
            else everything.take(held_out)
        )
        self.unknown_ = self._unknown(checked)
        remember = steps_to_remember(settings, float(np.percentile(training.lengths, 95)))
        update: dict[str, Any] = (
            {"remember": remember} if len(checked) else {"remember": remember, "patience": None}
        )
        self.resolved_ = settings.model_copy(update=update)
        with reproducible(settings.seed):
            program = TaggerProgram(
                self._new_network(start),
                training,
                checked if len(checked) else None,
                self.resolved_,
            )
        data = {"X": sentences, "y": tags, "validation": validation, "vectors": vector_identity(vectors)}
        extra = {"examples": len(rows), "trained_steps": int(training.lengths.max())}
        extra |= start.summary() if start else {}
        self._train(program, data, folder=folder, resume=resume, events=events, **extra)
        return self

    def predict(self, X: Tokens) -> list[list[str]]:
        """The likeliest tag of each word of each sentence."""
        check_is_fitted(self)
        sentences = self._read(X)
        self.unknown_ = self._unknown(sentences)
        predicted: list[list[str]] = [[] for _ in range(len(sentences))]
        with measuring(self.threads):
            for place, found, _ in log_probabilities(self.network_, sentences):
                predicted[place] = self.tag_vocabulary_.names(found.argmax(axis=1).tolist())
        return predicted

    def evaluate(self, X: Tokens, y: Tokens) -> dict[str, Any]:
        """Accuracy and loss (nats) a word, macro_f1, n (words), sentences, unknown (words), and tags.

        tags: for each tag that X has, {"n": its words, "right": how many were found, "predicted": how often it was}.
        Raises ValueError for a tag that was not in training.
        """
        check_is_fitted(self)
        sentences = self._read_tagged(X, y)
        if not len(sentences):
            raise ValueError("X is empty; give at least one tagged sentence")
        self.unknown_ = self._unknown(sentences)
        loss, best, wanted = 0.0, [], []
        with measuring(self.threads):
            for _, found, targets in log_probabilities(self.network_, sentences):
                assert targets is not None
                loss -= float(found[np.arange(len(targets)), targets].sum())
                best.append(found.argmax(axis=1))
                wanted.append(targets)
        predicted, right = np.concatenate(best), np.concatenate(wanted)
        return class_metrics(predicted, right, loss / len(right)) | {
            "sentences": len(sentences),
            "unknown": self.unknown_[0],
            "tags": counts_by_class(predicted, right, self.tags_),
        }

    def score(self, X: Tokens, y: Tokens) -> float:
        """The share of words with the right tag."""
        return float(self.evaluate(X, y)["accuracy"])

    def memory_probe(
        self, X: Tokens, y: Tokens | None = None, *, sample: int = 512, seed: int = 0
    ) -> MemoryProbe:
        """The model and at most `sample` sentences, for the instruments of memory; answers where y is given."""
        check_is_fitted(self)
        sentences = self._read(X) if y is None else self._read_tagged(X, y)
        self.unknown_ = self._unknown(sentences)
        probe = probe_tagger(self.network_, self._built(), X, sentences, sample, seed)
        summary = self.training_summary_
        return as_trained(probe, self.resolved_, summary, trained_steps=summary.get("trained_steps"))

    def _learn_words(
        self, sentences: list[list[str]], vectors: WordVectors | None, settings: TaggerSettings
    ) -> StartingVectors | None:
        """Set the vocabularies of words and of characters; the first vectors of the words, where some are given."""
        words = Counter(
            word.lower() if settings.lowercase else word for tokens in sentences for word in tokens
        )
        self.words_ = Vocabulary.build(words, min_count=settings.min_count, max_size=settings.max_vocabulary)
        self.characters_ = Vocabulary.build(
            Counter(letter for tokens in sentences for word in tokens for letter in word)
        )
        if vectors is None:
            return None
        self.words_ = joined(self.words_, vectors.words_, settings.max_vocabulary)
        return starting_vectors(
            vectors,
            self.words_.tokens,
            self.words_.counts,
            specials=self.words_.specials,
            seed=settings.seed,
        )

    def _read(self, X: Tokens) -> Sentences:
        return read_sentences(
            check_sentences(X, "X"), self.words_, self.characters_, lowercase=self.lowercase
        )

    def _read_tagged(self, X: Tokens, y: Tokens) -> Sentences:
        sentences, given = check_sentences(X, "X"), check_sentences(y, "y")
        check_tags(sentences, given)
        tags = []
        for index, sentence in enumerate(given):
            try:
                tags.append(self.tag_vocabulary_.ids(sentence))
            except DataError as error:
                raise ValueError(f"y[{index}]: {error}") from None
        return replace(self._read(sentences), tags=tags)

    def _unknown(self, sentences: Sentences) -> tuple[int, int]:
        words = [sentences.words[row] for row in sentences.rows]
        return sum(int((ids == self.words_.unknown_id).sum()) for ids in words), sum(map(len, words))

    def _new_network(self, start: StartingVectors | None = None) -> TokenTagger:
        return new_tagger(self.resolved_, self.words_, self.characters_, len(self.tag_vocabulary_), start)

    def _documents(self) -> dict[str, Any]:
        return {
            "words.json": self.words_.to_document(),
            "characters.json": self.characters_.to_document(),
            "tags.json": self.tag_vocabulary_.to_document(),
        }

    @classmethod
    def _document_names(cls, saved: Artifact) -> Sequence[str]:
        return "words.json", "characters.json", "tags.json"

    def _restore(self, documents: dict[str, Any]) -> None:
        self.words_, self.characters_, self.tag_vocabulary_ = (
            Vocabulary.from_document(documents[name])
            for name in ("words.json", "characters.json", "tags.json")
        )
