"""The next token of a text: characters, words or byte-pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from storyline.artifact import Artifact
from storyline.data import TextEncoder
from storyline.layers import MemoryProbe
from storyline.search import Sampling
from storyline.tasks.continuation import Continuation
from storyline.tasks.documents import (
    Text,
    check_documents,
    encode_contexts,
    encode_documents,
    hold_out_end,
    new_encoder,
)
from storyline.tasks.estimator import (
    Listeners,
    SequenceEstimator,
    StrPath,
    measuring,
    reproducible,
    steps_to_remember,
    unharmed,
)
from storyline.tasks.generation import check_count, drawing
from storyline.tasks.inputs import check_text
from storyline.tasks.language_network import language_vectors, new_language_network
from storyline.tasks.language_probe import probe_language
from storyline.tasks.language_program import FRESH, LanguageProgram, read_loss
from storyline.tasks.language_scoring import score_beginnings, score_tokens
from storyline.tasks.language_settings import LanguageModelSettings, resolve_language, sized
from storyline.tasks.next_token import NextToken
from storyline.tasks.probe import as_trained
from storyline.tasks.settings import check_settings
from storyline.tasks.starting_vectors import StartingVectors, vector_identity
from storyline.tasks.word_vectors import WordVectors


class LanguageModel(SequenceEstimator[NextToken]):
    """A language model: learns one long text, or several, and continues others.

    A text is one string, or a list of documents. A model that learned several documents reads <end> after each of
    them, and after every document that it is given later, a single one too (for words, <end> is also the line
    break); one that learned a single text reads documents one behind the other. The text is cut into `batch_size`
    streams that are read side by side in chunks of `steps`; the state is carried from chunk to chunk, the gradient
    stays within one.

    level                "char", "word" or "subword" (trained byte-pairs)
    core                 "lstm", "gru", "rnn" or "transformer"
    hidden_size          units of each layer
    num_layers           layers of the stack
    num_heads            of a Transformer's attention
    window               how many tokens each layer of a Transformer sees, and keeps from chunk to chunk and in
                         generating; "auto": the length of a chunk; None: all, and what is kept grows with the text,
                         in training too
    remember             as in Classifier; "auto": the length of a chunk
    lowercase            the text is lowered first
    whitespace           for words: a token is what stands between blanks; else punctuation stands apart
    min_count            a word or character seen less often in training is <unk>
    max_vocabulary       at most so many tokens; None: all (for subword: 2,000)
    embedding_size       of a token's vector; "auto": that of the vectors that fit is given, else hidden_size for words
                         and subwords, at most 64 for characters
    tied                 the head's weight is the embedding's; "auto": for words and subwords, unless adaptive
    softmax              "full"; "sampled": training steps score a sample of the words (layers.SampledHead); or
                         "adaptive": little is spent on rare words (layers.AdaptiveHead). "auto": sampled for words,
                         above 5,000 of them, else full
    candidates           words in the sample of a step, on average
    word_vectors         start from word vectors that the training text teaches (positive pointwise mutual
                         information); "auto": for words, above 5,000 of them, where fit is given no vectors
    freeze_vectors       keep the vectors that fit is given as they are (other words' are learned); else they are tuned
    shortcut             the head also reads the last token itself, past the recurrent stack; "auto": likewise
    dropout              of the state that the head reads, between layers (of a Transformer: of what it reads, and of
                         each sublayer), and, but for characters, of the embedding (the same channels at all steps of a
                         chunk)
    learn_initial_state  make the state before a text a parameter
    steps                length of a chunk
    epochs               at most so many passes
    max_steps            at most so many steps, also in the middle of a pass; None: all passes
    batch_size           streams
    learning_rate, weight_decay, schedule, warmup, clip_norm, average, average_last, validate_every, patience,
    restore_best, checkpoint_every, checkpoint_seconds, threads, device, precision: as in training.TrainingSettings
    validation_fraction  share of the text, its end, that is held out to choose the best weights; 0: none is
    seed                 of everything random
    backend              of the layers: "auto", "torch", "triton" or "reference"

    After fit: encoder_, many_ (whether it learned several documents), training_summary_, history_ (lines of
    metrics), network_ (the module), unknown_ (how many of how many tokens were unknown in the text last read).
    """

    task = "language"
    settings_type = LanguageModelSettings
    resolved_: LanguageModelSettings
    encoder_: TextEncoder
    many_: bool

    def __init__(
        self,
        *,
        level: Literal["char", "word", "subword"] = "char",
        core: Literal["lstm", "gru", "rnn", "transformer"] = "lstm",
        hidden_size: int = 256,
        num_layers: int = 1,
        num_heads: int = 4,
        window: int | Literal["auto"] | None = "auto",
        remember: int | Literal["auto"] | None = "auto",
        lowercase: bool = False,
        whitespace: bool = False,
        min_count: int = 1,
        max_vocabulary: int | None = None,
        embedding_size: int | Literal["auto"] = "auto",
        tied: bool | Literal["auto"] = "auto",
        softmax: Literal["full", "sampled", "adaptive", "auto"] = "auto",
        candidates: int = 1200,
        word_vectors: bool | Literal["auto"] = "auto",
        freeze_vectors: bool = False,
        shortcut: bool | Literal["auto"] = "auto",
        dropout: float = 0.3,
        learn_initial_state: bool = False,
        steps: int = 128,
        epochs: int = 10,
        max_steps: int | None = None,
        batch_size: int = 32,
        learning_rate: float = 0.004,
        weight_decay: float = 0.01,
        schedule: Literal["cosine", "one_cycle", "constant"] = "cosine",
        warmup: float | None = None,
        clip_norm: float | None = 1.0,
        average: float | None = None,
        average_last: int | None = None,
        validation_fraction: float = 0.1,
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

    @unharmed
    def fit(
        self,
        X: Text,
        y: None = None,
        *,
        validation: Text | None = None,
        vectors: WordVectors | None = None,
        folder: StrPath | None = None,
        resume: bool = False,
        events: Listeners = (),
    ) -> Self:
        """Learn a text X, or a list of documents; y is not read.

        validation  a text to choose the best weights by; None: the last `validation_fraction` of X
        vectors     word vectors to start from; no word joins the vocabulary, for the model also writes it
        folder, resume, events: as in Classifier.fit

        Raises ValueError for a setting that does not fit, and for a text that is empty or too short for its streams.
        """
        settings = sized(check_settings(LanguageModelSettings, self.get_params(deep=False)), vectors)
        documents = check_documents(X)
        training, held_out = hold_out_end(
            documents, 0.0 if validation is not None else settings.validation_fraction
        )
        self.encoder_ = new_encoder(settings).fit(training)
        self.many_ = len(documents) > 1
        self.resolved_ = resolve_language(
            settings,
            remember=steps_to_remember(settings, settings.steps),
            vocabulary=self.encoder_.size,
            validated=validation is not None or bool(held_out),
            given_vectors=vectors is not None,
        )
        ids = self._ids(training)
        checked = self._ids(check_documents(validation, "validation") if validation is not None else held_out)
        self.unknown_ = (self.encoder_.unknown(checked), len(checked))
        start = language_vectors(self.resolved_, self.encoder_, ids, vectors)
        with reproducible(settings.seed):
            program = LanguageProgram(
                self._new_network(start),
                ids,
                checked if len(checked) > 1 else None,
                self.resolved_,
            )
        self._train(
            program,
            {
                "X": documents,
                "validation": None if validation is None else check_documents(validation),
                "vectors": vector_identity(vectors),
            },
            folder=folder,
            resume=resume,
            events=events,
            tokens=len(ids),
            vocabulary=self.encoder_.size,
            **(start.summary() if start else {}),
        )
        return self

    def evaluate(self, X: Text, y: None = None) -> dict[str, Any]:
        """How well a text is foretold: the state is carried through all of it, and every token but the first is scored.

        nats, bits          mean cross entropy a token
        perplexity          exp(nats)
        nats_per_character  the sum over the characters of the tokens scored; comparable between levels
        n, unknown          tokens scored, and how many of all were unknown (scored as <unk>)
        """
        check_is_fitted(self)
        documents = check_documents(X)
        ids = self._ids(documents)
        if len(ids) < 2:
            raise ValueError(
                f"the text has {len(ids)} token; at least 2 are needed, because the first is not scored"
            )
        with measuring(self.threads):
            total, count = read_loss(self.network_, ids)
        self.unknown_ = (self.encoder_.unknown(ids), len(ids))
        characters = sum(map(len, documents)) - len(self.encoder_.decode(ids[:1].tolist()))
        nats = total / count
        return {
            "nats": nats,
            "bits": nats / math.log(2),
            "perplexity": math.exp(min(nats, 700.0)),
            "nats_per_character": total / max(1, characters),
            "n": count,
            "unknown": self.unknown_[0],
        }

    def score(self, X: Text, y: None = None) -> float:
        """Minus the nats a token of `evaluate`: larger is better."""
        return -float(self.evaluate(X)["nats"])

    def surprisal(self, texts: Text, context: Text | None = None) -> list[np.ndarray]:
        """What each token of each text costs, (tokens,) a text: -log p(token | context, the tokens before it) in nats.

        Every text is read by itself, so its sum is -log p(text | context), whatever stands beside it; that is how the
        likelier of two sentences is found (Linzen, Dupoux and Goldberg 2016). Words outside of the vocabulary cost
        what <unk> does; `unknown_` counts them, the context's included.

        texts    one, or a list
        context  what is read before and not scored: one for all, or one a text; no blank is put between. None: the
                 text begins a document; where the model learned one text only, and knows no beginning, the first
                 token costs what its frequency in training says, (count + 1/2) of all

        Raises ValueError for an empty text or context, and for as many contexts as do not fit the texts.
        """
        check_is_fitted(self)
        ids = self.encoder_.encode_all(check_documents(texts, "texts"))
        before = encode_contexts(self.encoder_, context, len(ids))
        if any(len(row) == 0 for row in ids):
            raise ValueError("a text has no token; every text needs at least one word")
        read = np.concatenate([*ids, *before])
        self.unknown_ = (self.encoder_.unknown(read), len(read))
        with measuring(self.threads):
            if before:
                return score_tokens(self.network_, before, ids)
            return score_beginnings(self.network_, self.encoder_, ids, many=self.many_)

    def generate(
        self,
        prompt: str = "",
        length: int = 200,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
    ) -> str:
        """The prompt, continued by `length` tokens drawn from the model; each costs the same time.

        A model that learned several documents of characters or subwords may end the text before that. An empty
        prompt begins a new document; where the model learned one text only, the first token is drawn by how
        frequent it was in training.

        temperature, top_k, top_p  see search.Sampling; temperature 0 takes the likeliest token always
        seed                       of the drawing; the same seed gives the same text. None: another text each time
        """
        check_is_fitted(self)
        length = check_count(length, "length", 0)
        sampling, generator = Sampling(temperature, top_k, top_p), drawing(seed)
        continuation = self._continuation(prompt, "prompt")
        with measuring(self.threads):
            return continuation.drawn(prompt, length, sampling, generator)

    def suggest(self, prefix: str, k: int = 5) -> list[tuple[str, float]]:
        """The k likeliest continuations of a text with their probabilities, the likeliest first.

        Words: the next word. Characters: the next word, or the rest of the word that the prefix breaks off in (given
        as the whole word), found by a beam search that keeps the 32 likeliest beginnings, so that it may miss a
        word whose beginning is unlikely. Subwords: the next subword only, with its leading blank.
        """
        check_is_fitted(self)
        k = check_count(k, "k", 1)
        continuation = self._continuation(prefix, "prefix")
        with measuring(self.threads):
            if self.encoder_.level == "char":
                return continuation.spelled_words(prefix, k)
            return continuation.next_tokens(prefix, k)

    def memory_probe(self, X: Text, y: None = None, *, sample: int = 128, seed: int = 0) -> MemoryProbe:
        """The model and `sample` windows of a text, for the instruments of memory; what follows them is known."""
        check_is_fitted(self)
        ids = self._ids(check_documents(X))
        self.unknown_ = (self.encoder_.unknown(ids), len(ids))
        resolved, summary = self.resolved_, self.training_summary_
        probe = probe_language(self.network_, self._built(), self.encoder_, ids, resolved.steps, sample, seed)
        # Gradients go back a chunk, or a stream where that is shorter. A Transformer attends to what lies before its
        # chunk, too, and learns to: how far gradients went back is no bound of what it learned to remember.
        stream = max(1, (summary["tokens"] - 1) // resolved.batch_size)
        back = None if resolved.core == "transformer" else min(resolved.steps, stream)
        return as_trained(
            probe, resolved, summary, trained_steps=math.inf, chunk=back, reset_every=round(resolved.steps / FRESH),
            settings={"chunk": "steps"},
        )  # fmt: skip

    def _continuation(self, prompt: str, name: str) -> Continuation:
        """What can go on from `prompt`, whose unknown tokens are counted."""
        ids = self.encoder_.encode(check_text(prompt, name))
        self.unknown_ = (self.encoder_.unknown(ids), len(ids))
        return Continuation(self.network_, self.encoder_, self.many_)

    def _ids(self, documents: list[str]) -> np.ndarray:
        return encode_documents(self.encoder_, documents, ended=self.many_)

    def _new_network(self, start: StartingVectors | None = None) -> NextToken:
        return new_language_network(self.resolved_, self.encoder_, start)

    def _documents(self) -> dict[str, Any]:
        return {"encoder.json": self.encoder_.to_document() | {"many": self.many_}}

    @classmethod
    def _document_names(cls, saved: Artifact) -> Sequence[str]:
        return ("encoder.json",)

    def _restore(self, documents: dict[str, Any]) -> None:
        self.many_ = documents["encoder.json"]["many"]
        self.encoder_ = TextEncoder.from_document(documents["encoder.json"])
