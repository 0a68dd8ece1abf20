"""A label for a whole sequence: a text, or a series of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from storyline.data import split_validation
from storyline.layers import MemoryProbe
from storyline.tasks.classifier_network import (
    ClassifierProgram,
    SequenceClassifier,
    log_probabilities,
    mean_loss,
    new_classifier,
)
from storyline.tasks.classifier_probe import probe_classifier
from storyline.tasks.estimator import (
    Listeners,
    StrPath,
    measuring,
    reproducible,
    steps_to_remember,
    take_weights,
    unharmed,
)
from storyline.tasks.inputs import check_pair, kind_of
from storyline.tasks.labels import encode_labels
from storyline.tasks.metrics import class_metrics
from storyline.tasks.probe import as_trained
from storyline.tasks.readers import Sequences, TextReader
from storyline.tasks.reading import SequenceReading
from storyline.tasks.settings import ClassifierSettings, check_settings, resolve_classifier
from storyline.tasks.starting_vectors import (
    StartingVectors,
    embedding_size,
    refuse_frozen_noise,
    vector_identity,
)
from storyline.tasks.word_vectors import WordVectors

# Of a vector where nothing else says it.
_EMBEDDING_SIZE = 128


class Classifier(ClassifierMixin, SequenceReading[SequenceClassifier]):  # type: ignore[misc]
    """A recurrent classifier of texts or of series, with scikit-learn's manners.

    X is a list of texts; or series: an array (n, time, channels), an array (n, time) of one channel, or a list of
    arrays (time_i, channels) or (time_i,) of different lengths. Where a default is "auto", it becomes what stands
    in brackets: [for texts; for series].

    core                 "lstm", "gru" or "rnn"
    hidden_size          units of each layer and direction
    num_layers           layers of the stack
    bidirectional        read from both ends [True; True unless supervise_every is given]
    remember             steps that the stack is initialised to remember, at least 3: chrono initialisation of the
                         gates, for "rnn" a scaled orthogonal matrix. "auto": the 95th percentile of the training
                         lengths; for "rnn" torch's own initialisation. None: torch's own initialisation
    pooling              one vector from the states: "last", "max" or "mean" [max; max, or last with supervise_every]
    level                texts are read as "word", "char" or "subword" (trained byte-pairs)
    lowercase            texts are lowered first (word, subword)
    min_count            a word or character seen less often in training is <unk>
    max_vocabulary       at most so many words; None: all (subword: the encoder's own default)
    embedding_size       size of the vector of a word; "auto": that of the vectors that fit is given, else 128
    freeze_vectors       keep the vectors that fit is given as they are (other words' are learned); else they are tuned
    word_dropout         a: in training a word of count n becomes <unk> with probability a / (a + n)
    dropout              of the embedded words and of the pooled state [.5; .5]
    noise                standard deviation of Gaussian noise added to scaled series in training [0; .3 for fewer than
                         5,000 series, else 0]
    label_smoothing      share of the target that is spread over all classes
    learn_initial_state  make the state before the first step a parameter
    supervise_every      also ask the head for its answer at every so many steps, from the running state;
                         for very long series, with pooling "last" and one direction. None: only at the end
    supervise_weight     weight of those losses, beside 1 for the last
    epochs               at most so many passes [15; enough for about 1,500 steps, between 10 and 100]
    max_steps            at most so many steps, also in the middle of a pass; None: all passes
    batch_size           sequences a step [32; 32]
    learning_rate        peak of the schedule [.002; .003]
    weight_decay, schedule, warmup, clip_norm, average, validate_every, patience, restore_best,
    checkpoint_every, checkpoint_seconds, threads, device, precision: as in training.TrainingSettings
    validation_fraction  share of the training set that is held out, stratified, to choose the best weights and to
                         stop early; 0: nothing is. Not used where fit is given a validation set
    warm_start           begin fit with the weights, the words or scale, and the labels of the fit before it, for
                         instance on the same series in finer steps, after `stretch`
    seed                 of everything random
    backend              of the layers: "auto", "torch", "triton" or "reference"

    After fit: classes_ (the labels), n_features_in_ (channels; columns of an array (n, time)),
    training_summary_, history_ (lines of metrics), network_ (the module), unknown_ (how many of how many words
    were unknown when texts were last read: by fit in its validation part, by predict and evaluate in theirs).
    """

    task = "classify"
    settings_type = ClassifierSettings
    resolved_: ClassifierSettings

    def __init__(
        self,
        *,
        core: Literal["lstm", "gru", "rnn"] = "lstm",
        hidden_size: int = 128,
        num_layers: int = 1,
        bidirectional: bool | Literal["auto"] = "auto",
        remember: int | Literal["auto"] | None = "auto",
        pooling: Literal["last", "max", "mean", "auto"] = "auto",
        level: Literal["word", "char", "subword"] = "word",
        lowercase: bool = True,
        min_count: int = 1,
        max_vocabulary: int | None = None,
        embedding_size: int | Literal["auto"] = "auto",
        freeze_vectors: bool = False,
        word_dropout: float = 0.25,
        dropout: float | Literal["auto"] = "auto",
        noise: float | Literal["auto"] = "auto",
        label_smoothing: float = 0.1,
        learn_initial_state: bool = False,
        supervise_every: int | None = None,
        supervise_weight: float = 1.0,
        epochs: int | Literal["auto"] = "auto",
        max_steps: int | None = None,
        batch_size: int | Literal["auto"] = "auto",
        learning_rate: float | Literal["auto"] = "auto",
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
        warm_start: bool = False,
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
        X: Any,
        y: Any,
        *,
        validation: tuple[Any, Any] | None = None,
        unlabelled: Sequence[str] | None = None,
        vectors: WordVectors | None = None,
        folder: StrPath | None = None,
        resume: bool = False,
        events: Listeners = (),
    ) -> Self:
        """Learn from sequences X and their labels y (strings, integers or booleans).

        validation   (X, y) to choose the best weights by; None: `validation_fraction` of X
        unlabelled   texts (of the same kind, no labels) from which the first word vectors are learned, by
                     positive pointwise mutual information; their frequent words join the vocabulary
        vectors      word vectors to start from; 20,000 of their words, the first ones that the texts lack, join the
                     vocabulary. training_summary_ counts the tokens that have one. For subwords those are
                     given a vector that begin a word and are a known word
        folder       gets metrics.jsonl and checkpoints (the model itself is written by `save_pretrained`)
        resume       go on from the checkpoints in `folder`, with the same data and settings, to the same bits
        events       called with each training event

        Raises ValueError for what does not fit: a setting, an empty text, NaN or infinity, differing channels,
        fewer than two classes.
        """
        settings = check_settings(ClassifierSettings, self.get_params(deep=False))
        before = self.network_ if self.warm_start and hasattr(self, "network_") else None
        usual = self.resolved_.embedding_size if before is not None else _EMBEDDING_SIZE
        size = embedding_size(settings.embedding_size, vectors, usual)
        settings = settings.model_copy(update={"embedding_size": size})
        self._forget_features()
        kind = kind_of(X)
        raw, labels = self._checked(X, y, kind)
        if before is None:
            self.classes_, targets = np.unique(labels, return_inverse=True)
        else:
            targets = encode_labels(labels, self.classes_, "y")
        if len(self.classes_) < 2:
            raise ValueError(
                f"y holds one class, {self.classes_.tolist()[0]!r}; a classifier needs at least two"
            )
        rows, held_out = _split(targets, settings, validation is not None)
        start = self._learn_reader(raw, rows, kind, unlabelled, vectors, settings, warm=before is not None)
        refuse_frozen_noise(settings.freeze_vectors, vectors, warm=before is not None)
        everything = replace(self.reader_.read(raw, kind), targets=targets)
        validating = everything.take(held_out) if len(held_out) else None
        if validation is not None:
            validating = self._read_labelled(*check_pair(validation), name="validation y")
        self._resolve(settings, everything.take(rows), patient=validating is not None)
        with reproducible(settings.seed):
            network = self._new_network(start)
        if before is not None:
            take_weights(network, before)
        self.unknown_ = validating.unknown if validating else (0, 0)
        program = self._program(network, everything.take(rows), validating)
        data = {
            "X": raw,
            "y": labels.tolist(),
            "validation": [validating.values, validating.classes] if validation and validating else None,
            "unlabelled": None if unlabelled is None else list(unlabelled),
            "vectors": vector_identity(vectors),
        }
        extra = {"examples": len(rows), "trained_steps": int(everything.lengths[rows].max())}
        extra |= start.summary() if start else {}
        self._train(program, data, folder=folder, resume=resume, events=events, **extra)
        return self

    def stretch(self, factor: float) -> Self:
        """Slow the fitted recurrent layers down for series that come in `factor` times as many steps.

        See `layers.Recurrent.stretch`; with `warm_start=True` a fit on the finer series goes on from there.
        """
        check_is_fitted(self)
        if self.resolved_.core == "rnn":
            raise ValueError(
                "core is 'rnn', which has no gates to slow down; fit with core='lstm' or core='gru'"
            )
        self.network_.layer.stretch(factor)
        if "trained_steps" in self.training_summary_:
            # The sequences of the training, in steps of today.
            steps = max(1, round(factor * self.training_summary_["trained_steps"]))
            self.training_summary_ = {**self.training_summary_, "trained_steps": steps}
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The likeliest label of each sequence (n,)."""
        best = self.predict_proba(X).argmax(axis=1)
        labels: np.ndarray = self.classes_[best]
        return labels

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (n, classes) float64, in the order of `classes_`.

        Those of a sequence do not depend on the others in X, but for rounding.
        """
        check_is_fitted(self)
        sequences = self._read(X)
        self.unknown_ = sequences.unknown
        probabilities: np.ndarray = np.exp(self._log_probabilities(sequences))
        return probabilities

    def evaluate(self, X: Any, y: Any) -> dict[str, Any]:
        """accuracy, macro_f1, loss (nats), n, unknown and tokens (words read, and how many were unknown).

        Raises ValueError for a label that was not in training.
        """
        check_is_fitted(self)
        sequences = self._read_labelled(X, y)
        self.unknown_ = unknown, tokens = sequences.unknown
        targets, found = sequences.classes, self._log_probabilities(sequences)
        metrics = class_metrics(found.argmax(axis=1), targets, mean_loss(found, targets))
        return metrics | {"unknown": unknown, "tokens": tokens}

    def memory_probe(self, X: Any, y: Any = None, *, sample: int = 512, seed: int = 0) -> MemoryProbe:
        """The model and at most `sample` sequences of X, for the instruments of memory; answers where y is given."""
        check_is_fitted(self)
        sequences = self._read(X) if y is None else self._read_labelled(X, y)
        self.unknown_ = sequences.unknown
        probe = probe_classifier(self.network_, self._built(), self.reader_, X, sequences, sample, seed)
        summary = self.training_summary_
        return as_trained(probe, self.resolved_, summary, trained_steps=summary.get("trained_steps"))

    def _log_probabilities(self, sequences: Sequences) -> np.ndarray:
        with measuring(self.threads):
            return log_probabilities(self.network_, sequences)

    def _resolve(self, settings: ClassifierSettings, training: Sequences, *, patient: bool) -> None:
        remember = steps_to_remember(settings, float(np.percentile(training.lengths, 95)))
        text = isinstance(self.reader_, TextReader)
        resolved = resolve_classifier(settings, text=text, remember=remember, examples=len(training.lengths))
        self.resolved_ = resolved if patient else resolved.model_copy(update={"patience": None})

    def _program(
        self, network: SequenceClassifier, training: Sequences, validating: Sequences | None
    ) -> ClassifierProgram:
        return ClassifierProgram(network, training, validating, self.resolved_)

    def _new_network(self, start: StartingVectors | None = None) -> SequenceClassifier:
        return new_classifier(self.resolved_, self.reader_, len(self.classes_), start)


def _split(targets: np.ndarray, settings: ClassifierSettings, given: bool) -> tuple[np.ndarray, np.ndarray]:
    """Rows to learn from, and rows held out for validation (none where a validation set is given)."""
    if given or settings.validation_fraction == 0:
        return np.arange(len(targets)), np.empty(0, dtype=np.int64)
    return split_validation(len(targets), settings.validation_fraction, settings.seed, stratify=targets)
