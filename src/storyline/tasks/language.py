"""The next token of a text: characters, words or byte-pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from storyline.artifact import Artifact
from storyline.data import TextEncoder, WordEncoder, ppmi_vectors
from storyline.tasks.documents import Text, check_documents, encode_documents, hold_out_end, new_encoder
from storyline.tasks.estimator import (
    Listeners,
    SequenceEstimator,
    StrPath,
    measuring,
    reproducible,
    steps_to_remember,
)
from storyline.tasks.generation import Sampling, continue_ids, spell_words, warmed
from storyline.tasks.language_network import LanguageProgram, NextToken, new_language_network, read_loss
from storyline.tasks.language_probe import probe_language
from storyline.tasks.probe import MemoryProbe
from storyline.tasks.settings import LanguageModelSettings, check_settings, resolve_language

# Beam and longest spelling, in characters, of the search for words.
_BEAM, _LONGEST_WORD = 32, 24


class LanguageModel(SequenceEstimator[NextToken]):
    """A recurrent language model: learns one long text, or several, and continues others.

    A text is one string, or a list of documents, which are joined with <end> between them (for words, <end> is also
    the line break). The text is cut into `batch_size` streams that are read side by side in chunks of `steps`; the
    state is carried from chunk to chunk, the gradient stays within one.

    level                "char", "word" or "subword" (trained byte-pairs)
    core                 "lstm", "gru" or "rnn"
    hidden_size          units of each layer
    num_layers           layers of the stack
    remember             as in Classifier; "auto": the length of a chunk
    lowercase            the text is lowered first
    whitespace           for words: a token is what stands between blanks; else punctuation stands apart
    min_count            a word or character seen less often in training is <unk>
    max_vocabulary       at most so many tokens; None: all (for subword: 2,000)
    embedding_size       of a token's vector; "auto": hidden_size for words and subwords, at most 64 for characters
    tied                 the head's weight is the embedding's; "auto": for words and subwords, unless adaptive
    softmax              "full"; "sampled": training steps score a sample of the words (layers.SampledHead); or
                         "adaptive": little is spent on rare words (layers.AdaptiveHead). "auto": sampled for words,
                         above 5,000 of them, else full
    candidates           words in the sample of a step, on average
    word_vectors         start from word vectors that the training text teaches (positive pointwise mutual
                         information); "auto": for words, above 5,000 of them
    shortcut             the head also reads the last token itself, past the recurrent stack; "auto": likewise
    dropout              of the state that the head reads, between layers, and, but for characters, of the embedding
                         (the same channels at all steps of a chunk)
    learn_initial_state  make the state before a text a parameter
    steps                length of a chunk
    epochs               at most so many passes
    max_steps            at most so many steps, also in the middle of a pass; None: all passes
    batch_size           streams
    learning_rate, weight_decay, schedule, warmup, clip_norm, average, validate_every, patience, restore_best,
    checkpoint_every, checkpoint_seconds, threads, device, precision: as in training.TrainingSettings
    validation_fraction  share of the text, its end, that is held out to choose the best weights; 0: none is
    seed                 of everything random
    backend              of the layers: "auto", "torch", "triton" or "reference"

    After fit: encoder_, training_summary_, history_ (lines of metrics), network_ (the module), unknown_ (how many
    of how many tokens were unknown in the text last read).
    """

    task = "language"
    settings_type = LanguageModelSettings
    resolved_: LanguageModelSettings
    encoder_: TextEncoder

    def __init__(
        self,
        *,
        level: Literal["char", "word", "subword"] = "char",
        core: Literal["lstm", "gru", "rnn"] = "lstm",
        hidden_size: int = 256,
        num_layers: int = 1,
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
        self.level = level
        self.core = core
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.remember = remember
        self.lowercase = lowercase
        self.whitespace = whitespace
        self.min_count = min_count
        self.max_vocabulary = max_vocabulary
        self.embedding_size = embedding_size
        self.tied = tied
        self.softmax = softmax
        self.candidates = candidates
        self.word_vectors = word_vectors
        self.shortcut = shortcut
        self.dropout = dropout
        self.learn_initial_state = learn_initial_state
        self.steps = steps
        self.epochs = epochs
        self.max_steps = max_steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.warmup = warmup
        self.clip_norm = clip_norm
        self.average = average
        self.validation_fraction = validation_fraction
        self.validate_every = validate_every
        self.patience = patience
        self.restore_best = restore_best
        self.checkpoint_every = checkpoint_every
        self.checkpoint_seconds = checkpoint_seconds
        self.seed = seed
        self.threads = threads
        self.device = device
        self.precision = precision
        self.backend = backend

    def fit(
        self,
        X: Text,
        y: None = None,
        *,
        validation: Text | None = None,
        folder: StrPath | None = None,
        resume: bool = False,
        events: Listeners = (),
    ) -> Self:
        """Learn a text X, or a list of documents; y is not read.

        validation  a text to choose the best weights by; None: the last `validation_fraction` of X
        folder, resume, events: as in Classifier.fit

        Raises ValueError for a setting that does not fit, and for a text that is empty or too short for its streams.
        """
        settings = check_settings(LanguageModelSettings, self.get_params(deep=False))
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
        )
        ids = self._ids(training)
        checked = self._ids(check_documents(validation) if validation is not None else held_out)
        self.unknown_ = (self.encoder_.unknown(checked), len(checked))
        vectors = self._word_vectors(ids) if self.resolved_.word_vectors else None
        with reproducible(settings.seed):
            program = LanguageProgram(
                self._new_network(vectors),
                ids,
                checked if len(checked) > 1 else None,
                streams=settings.batch_size,
                steps=settings.steps,
                seed=settings.seed,
            )
        self._train(
            program,
            folder=folder,
            resume=resume,
            events=events,
            tokens=len(ids),
            vocabulary=self.encoder_.size,
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
        prompt begins a new document, where the model learned one text only, with a token as frequent in training.

        temperature, top_k, top_p  see generation.Sampling; temperature 0 takes the likeliest token always
        seed                       of the drawing; the same seed gives the same text. None: another text each time
        """
        check_is_fitted(self)
        if length < 0:
            raise ValueError(f"length is {length}; it must be 0 or more tokens")
        sampling = Sampling(temperature, top_k, top_p)
        generator = torch.Generator()
        if seed is None:
            generator.seed()
        else:
            generator.manual_seed(seed)
        ids, begun = self._prompt(prompt, generator)
        end = self.encoder_.end_id if self.many_ and self.level != "word" else None
        with measuring(self.threads):
            found = continue_ids(
                self.network_, ids, length - len(begun), sampling, generator, never=self._never(end), end=end
            )
        # Decoded behind the prompt, so that blanks and halves of characters come out right.
        before = self.encoder_.decode(ids[: len(ids) - len(begun)].tolist())
        return prompt + self.encoder_.decode([*ids.tolist(), *found])[len(before) :]

    def suggest(self, prefix: str, k: int = 5) -> list[tuple[str, float]]:
        """The k likeliest continuations of a text with their probabilities, the likeliest first.

        Words: the next word. Characters: the next word, or the rest of the word that the prefix breaks off in (given
        as the whole word), found by a beam search that keeps the 32 likeliest beginnings, so that it may miss a
        word whose beginning is unlikely. Subwords: the next subword only, with its leading blank.
        """
        check_is_fitted(self)
        if k < 1:
            raise ValueError(f"k is {k}; it must be 1 or more")
        ids, begun = self._prompt(prefix, torch.Generator().manual_seed(0))
        ids = ids[: len(ids) - len(begun)] if len(ids) > len(begun) else ids
        names = self.encoder_.names()
        with measuring(self.threads):
            if self.level == "char":
                return self._spelled(prefix, ids, k, names)
            scores, _ = warmed(self.network_, ids)
        never = [self.encoder_.pad_id, self.encoder_.unknown_id, self.encoder_.end_id]
        scores[never] = -torch.inf
        found = scores.double().exp().topk(min(k, len(scores) - len(never)))
        pairs = zip(found.indices.tolist(), found.values.tolist(), strict=True)
        return [(names[id_], probability) for id_, probability in pairs]

    def memory_probe(self, X: Text, y: None = None, *, sample: int = 64, seed: int = 0) -> MemoryProbe:
        """The model and windows of a text, for the instruments of memory; losses are always known."""
        check_is_fitted(self)
        return probe_language(
            self.network_, self._built(), self._ids(check_documents(X)), self.resolved_.steps, sample, seed
        )

    def _spelled(self, prefix: str, ids: np.ndarray, k: int, names: list[str]) -> list[tuple[str, float]]:
        def inside(id_: int) -> bool:
            return len(names[id_]) == 1 and (names[id_].isalnum() or names[id_] in "'’")

        start = len(prefix)
        while start and (prefix[start - 1].isalnum() or prefix[start - 1] in "'’"):
            start -= 1
        words = spell_words(
            self.network_,
            ids,
            k,
            inside=inside,
            started=start < len(prefix),
            never=self._never(None),
            beam=max(_BEAM, k),
            longest=_LONGEST_WORD,
        )
        return [(prefix[start:] + self.encoder_.decode(word), probability) for word, probability in words]

    def _never(self, end: int | None) -> list[int]:
        """Ids that are not drawn: padding, <unk>, and <end> where it neither ends the text nor is a line break."""
        never = [self.encoder_.pad_id, self.encoder_.unknown_id]
        if end is None and self.level != "word" and self.encoder_.end_id is not None:
            never.append(self.encoder_.end_id)
        return never

    def _prompt(self, prompt: str, generator: torch.Generator) -> tuple[np.ndarray, list[int]]:
        """Ids to begin with, at least one, and those of them that are not the prompt's but already drawn."""
        ids = self.encoder_.encode(prompt)
        self.unknown_ = (self.encoder_.unknown(ids), len(ids))
        if len(ids):
            return ids, []
        if self.many_:
            return np.array([self.encoder_.end_id]), []
        counts = torch.from_numpy(self.encoder_.counts).double()
        counts[[self.encoder_.pad_id, self.encoder_.unknown_id]] = 0
        drawn = int(torch.multinomial(counts, 1, generator=generator))
        return np.array([drawn]), [drawn]

    def _ids(self, documents: list[str]) -> np.ndarray:
        return encode_documents(self.encoder_, documents)

    def _word_vectors(self, ids: np.ndarray) -> torch.Tensor:
        assert isinstance(self.encoder_, WordEncoder)
        assert self.resolved_.embedding_size != "auto"
        size, seed = self.resolved_.embedding_size, self.resolved_.seed
        return torch.from_numpy(ppmi_vectors([ids], self.encoder_.vocabulary, size, seed=seed))

    def _new_network(self, vectors: torch.Tensor | None = None) -> NextToken:
        return new_language_network(self.resolved_, self.encoder_, vectors)

    def _documents(self) -> dict[str, Any]:
        return {"encoder.json": self.encoder_.to_document() | {"many": self.many_}}

    @classmethod
    def _document_names(cls, saved: Artifact) -> Sequence[str]:
        return ("encoder.json",)

    def _restore(self, documents: dict[str, Any]) -> None:
        self.many_ = documents["encoder.json"]["many"]
        self.encoder_ = TextEncoder.from_document(documents["encoder.json"])
