"""Answers to questions about texts: pointed at, or written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Self

from sklearn.utils.validation import check_is_fitted

from storyline.artifact import Artifact
from storyline.data import TextEncoder, Vocabulary, WordEncoder
from storyline.layers import MemoryProbe
from storyline.search import Beam
from storyline.tasks.alignment import Alignment
from storyline.tasks.answer_mode import AnswerMode
from storyline.tasks.answer_pointing import Pointing, Span
from storyline.tasks.answer_scoring import answer_scores
from storyline.tasks.answer_span_network import SpanNetwork
from storyline.tasks.answer_spans import learn_characters, said_dropped
from storyline.tasks.answer_story_network import StoryNetwork
from storyline.tasks.answer_texts import (
    Answers,
    check_asked,
    check_triple,
    choose_mode,
    held_out_contexts,
)
from storyline.tasks.answer_words import learn_words, resolve_answerer
from storyline.tasks.answer_writing import Writing
from storyline.tasks.estimator import Listeners, SequenceEstimator, StrPath, measuring, unharmed
from storyline.tasks.probe import as_trained
from storyline.tasks.settings import AnswererSettings, check_settings
from storyline.tasks.starting_vectors import embedding_size, refuse_frozen_noise, vector_identity
from storyline.tasks.word_vectors import WordVectors
from storyline.tasks.writing import asked_beam
from storyline.training import WarningEvent

# Of a word's vector where nothing else says it.
_EMBEDDING_SIZE = 100


class Answerer(SequenceEstimator[SpanNetwork | StoryNetwork]):
    """A recurrent reader that answers questions about texts.

    A row is a context, a question about it, and in training its answer: a text, or a list of the right ones. There are
    two ways to answer:

    "span"      points at the piece of the context that answers, in the line of DrQA (Chen et al. 2017): a word is read
                as in a Tagger, beside the question's words that are like it. For answers that stand in their contexts.
    "generate"  writes the answer word by word: a dynamic memory network (Xiong et al. 2016) that reads the context
                sentence by sentence, looks at the sentences `hops` times, and hands what it found to a decoder. For
                answers that follow from the context without standing in it: yes, three, milk and football.

    mode                 "span", "generate" or "auto": "span" where at least 95 % of the training rows have an answer
                         that stands in its context letter by letter and at least a tenth as many different answers as
                         rows, else "generate"; `resolved_.mode` and the training summary tell
    core                 "lstm", "gru" or "rnn"
    hidden_size          units of each layer and direction; for "generate" the size of word vectors and sentences, too
    num_layers           layers that read the context, all of them bidirectional
    remember             as in Classifier; "auto": the 95th percentile of the lengths of the training contexts, in words
                         for "span", in sentences for "generate"
    hops                 looks at the sentences; "generate" only
    beam                 hypotheses of an answer that a search follows, for the likeliest of them; 1: always the
                         likeliest next word; "generate" only
    longest              most words of an answer; "auto": 15 for "span", for "generate" what the longest in training has
    lowercase            words are lowered before they are looked up; their spelling is not
    min_count            a word seen less often in training is <unk>
    max_vocabulary       at most so many words; None: all
    embedding_size       of a word's vector; "auto": that of the vectors that fit is given, else 100; "span" only
    freeze_vectors       keep the vectors that fit is given as they are (other words' are learned); else they are tuned
    spelling_size        of the vector of its spelling, half for either direction; "span" only
    character_size       of a character's vector; "span" only
    word_vectors         start from word vectors that contexts, questions and `unlabelled` texts teach (positive
                         pointwise mutual information); "span" only; "auto": where there are more than 5,000 words
    word_dropout         as in Classifier
    dropout              of what the recurrent layers read, between them, and of what the head reads
    label_smoothing      share of the target that is spread over all words; "generate" only
    learn_initial_state  make the state before the first word a parameter
    epochs               at most so many passes
    max_steps            at most so many steps, also in the middle of a pass; None: all passes
    batch_size           questions a step
    learning_rate, weight_decay, schedule, warmup, clip_norm, average, validate_every, patience, restore_best,
    checkpoint_every, checkpoint_seconds, threads, device, precision: as in training.TrainingSettings
    validation_fraction  share of the contexts, with all their questions, that is held out to choose the best weights;
                         0: none is
    seed                 of everything random
    backend              of the layers: "auto", "torch", "triton" or "reference"

    After fit: resolved_, dropped_ (training rows left out because no answer stands in their context),
    training_summary_, history_ (lines of metrics), network_ (the module), unknown_ (how many of how many words were
    unknown in what was last read).
    """

    task = "answer"
    settings_type = AnswererSettings
    resolved_: AnswererSettings
    words_: WordEncoder
    characters_: Vocabulary
    dropped_: list[int]

    def __init__(
        self,
        *,
        mode: Literal["span", "generate", "auto"] = "auto",
        core: Literal["lstm", "gru", "rnn"] = "lstm",
        hidden_size: int = 96,
        num_layers: int = 1,
        remember: int | Literal["auto"] | None = "auto",
        hops: int = 3,
        beam: int = 1,
        longest: int | Literal["auto"] = "auto",
        lowercase: bool = True,
        min_count: int = 1,
        max_vocabulary: int | None = None,
        embedding_size: int | Literal["auto"] = "auto",
        freeze_vectors: bool = False,
        spelling_size: int = 50,
        character_size: int = 32,
        word_vectors: bool | Literal["auto"] = "auto",
        word_dropout: float = 0.0,
        dropout: float | Literal["auto"] = "auto",
        label_smoothing: float = 0.0,
        learn_initial_state: bool = False,
        epochs: int = 15,
        max_steps: int | None = None,
        batch_size: int = 32,
        learning_rate: float = 0.002,
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
        self._keep(locals())

    @unharmed
    def fit(
        self,
        contexts: Sequence[str],
        questions: Sequence[str],
        answers: Answers,
        *,
        validation: tuple[Sequence[str], Sequence[str], Answers] | None = None,
        unlabelled: Sequence[str] | None = None,
        vectors: WordVectors | None = None,
        folder: StrPath | None = None,
        resume: bool = False,
        events: Listeners = (),
    ) -> Self:
        """Learn from questions about contexts, and their answers: a text a row, or a list of the right ones.

        In mode "span" a row none of whose answers stands in its context teaches nothing: it is left out, counted in
        `dropped_` and told to `events`. Where an answer stands there several times, any place of it counts as right.
        In mode "generate" the first of several right answers is learned.

        validation  (contexts, questions, answers) to choose the best weights by; None: `validation_fraction` of the
                    contexts
        unlabelled  other texts of the same kind, from which word vectors are learned, too; in mode "span" only
        vectors     word vectors to start from, as in Classifier.fit; in mode "span" only
        folder, resume, events: as in Classifier.fit

        Raises ValueError for a setting that does not fit, an empty context, question or answer, lists of different
        lengths, and in mode "span" where no row is left.
        """
        settings = check_settings(AnswererSettings, self.get_params(deep=False))
        asked = check_asked(contexts, questions, answers)
        given = None if validation is None else check_asked(*check_triple(validation), name="validation ")
        if not len(asked):
            raise ValueError("contexts are empty; give at least one context with its question and answer")
        mode, why = (settings.mode, None) if settings.mode != "auto" else choose_mode(asked)
        _tell(events, why)
        rows, held_out = held_out_contexts(
            asked, 0.0 if given is not None else settings.validation_fraction, settings.seed
        )
        training, checked = asked.take(rows), asked.take(held_out) if given is None else given
        size = embedding_size(settings.embedding_size, vectors, _EMBEDDING_SIZE)
        settings = settings.model_copy(update={"mode": mode, "embedding_size": size})
        refuse_frozen_noise(settings.freeze_vectors, vectors)
        self.words_, start = learn_words(training, unlabelled, vectors, settings)
        self.resolved_ = resolve_answerer(settings, mode, training, self.words_, validated=bool(len(checked)))
        if mode == "span":
            self.characters_ = learn_characters([*dict.fromkeys(training.contexts), *training.questions])
        lesson = self._mode.lesson(training, checked, self.resolved_, start)
        self.unknown_, self.dropped_ = lesson.unknown, rows[lesson.left_out].tolist()
        _tell(events, said_dropped(self.dropped_, len(rows)))
        data = {
            "asked": asked.described(),
            "validation": None if given is None else given.described(),
            "unlabelled": None if unlabelled is None else list(unlabelled),
            "vectors": vector_identity(vectors),
        }
        extra = start.summary() if start else {}
        extra |= {"mode": mode, "examples": len(rows) - len(self.dropped_), "dropped": len(self.dropped_)}
        extra |= {"vocabulary": self.words_.size, "trained_steps": lesson.longest}
        self._train(lesson.program, data, folder=folder, resume=resume, events=events, **extra)
        return self

    def predict(
        self, contexts: Sequence[str], questions: Sequence[str], *, beam: int | None = None
    ) -> list[str]:
        """The answer to each question about its context; it does not depend on the others.

        beam  as the setting of that name; None: as it is set. Answers are ranked by their log probability, whatever
              their length

        Contexts may be longer than any in training. Raises ValueError for an empty context or question, and for a beam
        where the model points at its answers.
        """
        check_is_fitted(self)
        asked, mode = check_asked(contexts, questions), self._mode
        with measuring(self.threads):
            found, self.unknown_ = mode.answers(self.network_, asked, self._longest, self._beam(beam))
        return found

    def point(self, contexts: Sequence[str], questions: Sequence[str]) -> list[Span]:
        """The span that answers each question, with its place in the context, counted in characters.

        Raises ValueError for a model of mode "generate", which has no spans.
        """
        check_is_fitted(self)
        mode = self._mode
        if not isinstance(mode, Pointing):
            raise ValueError(
                "this model writes its answers, and points at none; use predict, or fit with mode='span'"
            )
        assert isinstance(self.network_, SpanNetwork)
        asked = check_asked(contexts, questions)
        with measuring(self.threads):
            found, self.unknown_ = mode.spans(self.network_, asked, self._longest)
        return found

    def attention(self, context: str, question: str) -> Alignment:
        """Where the model looked to answer a question, as numbers and, by `.plot()`, as a picture.

        In mode "generate" a row a hop: how much it looked at each sentence of the context. In mode "span" two rows: how
        likely the answer begins, and ends, at each word. Raises ValueError for an empty context or question.
        """
        check_is_fitted(self)
        asked = check_asked([context], [question])
        with measuring(self.threads):
            return self._mode.look(self.network_, asked)

    def evaluate(
        self, contexts: Sequence[str], questions: Sequence[str], answers: Answers, *, beam: int | None = None
    ) -> dict[str, Any]:
        """exact_match and f1, as SQuAD scores them, between 0 and 1; n (questions) and unknown (words).

        Both are of normalised texts (lower case, no punctuation, no English articles); of several right answers the
        one that scores best counts (Rajpurkar et al. 2016). In mode "generate" words are those of the model, so that
        milk,football is as good as milk, football. beam: as in predict.
        """
        check_is_fitted(self)
        asked = check_asked(contexts, questions, answers)
        assert asked.answers is not None
        if not len(asked):
            raise ValueError("contexts are empty; give at least one context with its question and answer")
        scored = self._mode.scored
        found = [scored(answer) for answer in self.predict(asked.contexts, asked.questions, beam=beam)]
        right = [[scored(answer) for answer in each] for each in asked.answers]
        exact, f1 = answer_scores(found, right).mean(axis=0).tolist()
        return {"exact_match": exact, "f1": f1, "n": len(asked), "unknown": self.unknown_[0]}

    def score(self, contexts: Sequence[str], questions: Sequence[str], answers: Answers) -> float:
        """The mean F1 of `evaluate`."""
        return float(self.evaluate(contexts, questions, answers)["f1"])

    def memory_probe(
        self,
        contexts: Sequence[str],
        questions: Sequence[str],
        answers: Answers | None = None,
        *,
        sample: int = 128,
        seed: int = 0,
    ) -> MemoryProbe:
        """The model and at most `sample` contexts, for the instruments of memory; answers where they are given.

        In mode "span" a step is a word, and what is asked for is how many words before the end the answer begins. In
        mode "generate" a step is a sentence, and the answer's first word is asked for. The question stays as it is.
        """
        check_is_fitted(self)
        asked = check_asked(contexts, questions, answers)
        probe, self.unknown_ = self._mode.probe(self.network_, self._built(), asked, sample, seed)
        summary = self.training_summary_
        return as_trained(probe, self.resolved_, summary, trained_steps=summary.get("trained_steps"))

    @property
    def _mode(self) -> AnswerMode[Any]:
        if self.resolved_.mode == "span":
            return Pointing(self.words_, self.characters_)
        return Writing(self.words_)

    @property
    def _longest(self) -> int:
        assert self.resolved_.longest != "auto"
        return self.resolved_.longest

    def _beam(self, width: int | None) -> Beam | None:
        """The search that is asked for; None: none is."""
        if width is None and self.resolved_.mode == "span":
            return None
        return asked_beam(1, width, 0.0, 0.0, usual=self.beam, vocabulary=self.words_.size, attends=False)

    def _new_network(self) -> SpanNetwork | StoryNetwork:
        network: SpanNetwork | StoryNetwork = self._mode.new_network(self.resolved_)
        return network

    def _documents(self) -> dict[str, Any]:
        return self._mode.documents()

    @classmethod
    def _document_names(cls, saved: Artifact) -> Sequence[str]:
        span = saved.config["resolved"]["mode"] == "span"
        return ("words.json", "characters.json") if span else ("words.json",)

    def _restore(self, documents: dict[str, Any]) -> None:
        words = TextEncoder.from_document(documents["words.json"])
        assert isinstance(words, WordEncoder)
        self.words_, self.dropped_ = words, []
        if "characters.json" in documents:
            self.characters_ = Vocabulary.from_document(documents["characters.json"])


def _tell(events: Listeners, message: str | None) -> None:
    if message is not None:
        for listener in events:
            listener(WarningEvent(message))
