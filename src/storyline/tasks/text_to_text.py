"""What a Translator and a Summarizer share: from pairs of texts to a trained model, and from texts to texts."""

from __future__ import annotations

import math
from abc import ABC
from collections.abc import Callable, Sequence
from typing import Any, Self

from sklearn.utils.validation import check_is_fitted

from storyline.artifact import Artifact
from storyline.data import PairEncoder, TokenPairs, filled_pairs
from storyline.layers import MemoryProbe
from storyline.tasks.alignment import Alignment
from storyline.tasks.estimator import (
    Listeners,
    SequenceEstimator,
    StrPath,
    measuring,
    reproducible,
    unharmed,
)
from storyline.tasks.inputs import check_pair
from storyline.tasks.probe import UNITS, as_trained
from storyline.tasks.settings import check_settings
from storyline.tasks.starting_vectors import PairStart, vector_identity
from storyline.tasks.text_pairs import (
    PreparedPairs,
    checked_pairs,
    checked_texts,
    token_pairs,
    unknown_tokens,
)
from storyline.tasks.text_to_text_network import SourceToTarget, new_text_to_text_network
from storyline.tasks.text_to_text_probe import Side, probe_text_to_text
from storyline.tasks.text_to_text_program import PairProgram, read_pairs
from storyline.tasks.text_to_text_settings import (
    AttentionName,
    TextToTextSettings,
    resolve_text_to_text,
    sized,
)
from storyline.tasks.text_writer import TextWriter
from storyline.tasks.word_vectors import WordVectors
from storyline.tasks.writing import Lengths, asked_beam


class TextToText(SequenceEstimator[SourceToTarget], ABC):
    """An estimator that reads a text and writes another.

    encoder_    from texts to ids, of either side
    lengths_    how long sources and targets were in training, from which follows how long an output may become
    dropped_    how many training pairs were left out because a side was empty or longer than `longest`
    empty_, longer_, cut_  of the texts last read: how many were empty, longer than any in training, and of how many
                only the first `source_limit` tokens were read
    """

    settings_type = TextToTextSettings
    resolved_: TextToTextSettings
    encoder_: PairEncoder
    lengths_: Lengths
    dropped_: dict[str, int]
    empty_: int
    longer_: int
    cut_: int

    @unharmed
    def fit(
        self,
        X: Sequence[str],
        y: Sequence[str],
        *,
        validation: tuple[Sequence[str], Sequence[str]] | None = None,
        vectors: WordVectors | None = None,
        target_vectors: WordVectors | None = None,
        folder: StrPath | None = None,
        resume: bool = False,
        events: Listeners = (),
    ) -> Self:
        """Learn from source texts X and their target texts y.

        A pair with an empty side teaches nothing and is left out; `dropped_` counts them.

        validation  (X, y) to choose the best weights by; None: `validation_fraction` of the pairs
        vectors     word vectors from which the embedding of the sources starts, with a shared vocabulary that of both
                    sides; target_vectors: that of the targets. Words have theirs, and of byte-pairs those that begin a
                    word and are one. training_summary_ counts them
        folder, resume, events: as in Classifier.fit

        Raises ValueError for a setting that does not fit, and for as many targets as do not fit the sources.
        """
        settings = sized(
            check_settings(TextToTextSettings, self.get_params(deep=False)), vectors, target_vectors
        )
        sources, targets = checked_pairs(X, y)
        given = None if validation is None else checked_pairs(*check_pair(validation), name="validation ")
        pairs = PreparedPairs.of(sources, targets, given, settings, self._source_limit)
        training = pairs.training
        self.encoder_, self.dropped_, self.cut_ = pairs.encoder, pairs.dropped, pairs.cut
        self.lengths_ = Lengths.of(training)
        self.resolved_ = resolve_text_to_text(settings, training, patient=bool(len(pairs.validation)))
        self.unknown_ = unknown_tokens(self.encoder_, pairs.validation)
        start = PairStart.of(vectors, target_vectors, self.encoder_, settings.seed)
        with reproducible(settings.seed):
            program = PairProgram(
                self._new_network(start),
                training,
                pairs.validation if len(pairs.validation) else None,
                self.resolved_,
            )
        data = {
            "X": sources,
            "y": targets,
            "validation": given,
            "vectors": vector_identity(vectors),
            "target_vectors": vector_identity(target_vectors),
        }
        self._train(
            program,
            data,
            folder=folder,
            resume=resume,
            events=events,
            examples=len(training),
            dropped=self.dropped_,
            **({"cut": pairs.cut} if pairs.cut else {}),
            **start.summary(),
            vocabulary=[self.encoder_.source.size, self.encoder_.target.size],
        )
        return self

    def predict(
        self,
        X: Sequence[str],
        *,
        beam: int | None = None,
        length_penalty: float | None = None,
        coverage_penalty: float | None = None,
    ) -> list[str]:
        """The output of each text; that of an empty or blank text is empty. It does not depend on the others in X.

        beam              hypotheses kept a text; 1: always the likeliest next token. None: the setting of the model
        length_penalty    alpha of Wu et al. 2016, eq. 14: 0 favours short outputs. None: the setting
        coverage_penalty  beta there: how much an output loses for source tokens that it never attended to. None: the
                          setting

        `empty_`, `longer_` and `unknown_` say how many texts were empty, how many longer than any in training, and how
        many of how many tokens were unknown. Warns (UnseenLengthWarning) where some are longer than any in training.
        """
        found = self._written(X, 1, beam, length_penalty, coverage_penalty)
        return [best[0][0] if best else "" for best in found]

    def predict_best(
        self,
        X: Sequence[str],
        n: int = 5,
        *,
        beam: int | None = None,
        length_penalty: float | None = None,
        coverage_penalty: float | None = None,
    ) -> list[list[tuple[str, float]]]:
        """The n best outputs of each text with their scores, the best first (of an empty text none).

        They may be fewer: of hypotheses that spell the same text in other tokens only the best is given.

        A score is the log probability in nats, normalised by length and coverage as `predict` says; the rest as there.
        """
        return self._written(X, n, beam, length_penalty, coverage_penalty)

    @property
    def attention(self) -> Callable[..., Alignment]:
        """`attention(text, output=None)`: how much of each source token went into each token of the output.

        output  None: the model's own

        Raises ValueError for an empty text, and where the model has no attention. (The setting of the same name is in
        `get_params()["attention"]`.)
        """
        return self._aligned

    @attention.setter
    def attention(self, setting: AttentionName | None) -> None:
        self._attention = setting

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The settings by name, as scikit-learn has them."""
        names = [name for name in self._get_param_names() if name != "attention"]
        return {name: getattr(self, name) for name in names} | {"attention": self._attention}

    def _aligned(self, text: str, output: str | None = None) -> Alignment:
        check_is_fitted(self)
        if not self.network_.attends:
            raise ValueError(
                "this model has no attention; fit with attention='additive', or core='transformer'"
            )
        checked_texts([text], "text")
        if not text.strip():
            raise ValueError("text is empty; there is nothing to attend to")
        written = self.predict([text])[0] if output is None else output
        checked_texts([written], "output")
        writer = self._writer
        self.cut_ = writer.read([text]).cut
        with measuring(self.threads):
            return writer.aligned(text, written)

    def evaluate(self, X: Sequence[str], y: Sequence[str]) -> dict[str, Any]:
        """How well the targets are foretold by teacher forcing: pairs with an empty side are left out and counted.

        nats, perplexity  mean cross entropy a target token, `<end>` counted, and exp of it
        n, tokens         pairs and target tokens that were scored
        dropped           pairs with an empty side
        """
        check_is_fitted(self)
        sources, targets = checked_pairs(X, y)
        rows = filled_pairs(sources, targets)
        if not len(rows):
            raise ValueError(f"no pair of {len(sources)} has two sides that are not empty; give at least one")
        pairs = self._pairs(sources, targets).take(rows)
        self.unknown_ = unknown_tokens(self.encoder_, pairs)
        with measuring(self.threads):
            total, count = read_pairs(self.network_, pairs)
        nats = total / count
        return {
            "nats": nats,
            "perplexity": math.exp(min(nats, 700.0)),
            "n": len(rows),
            "tokens": count,
            "dropped": len(sources) - len(rows),
        }

    def score(self, X: Sequence[str], y: Sequence[str]) -> float:
        """Minus the nats a token of `evaluate`: larger is better."""
        return -float(self.evaluate(X, y)["nats"])

    def memory_probe(
        self, X: Sequence[str], y: Sequence[str], *, side: Side = "source", sample: int = 128, seed: int = 0
    ) -> MemoryProbe:
        """The model and at most `sample` pairs, for the instruments of memory; pairs with an empty side are left out.

        side  what a lag counts: "source", its tokens from the end; "target", those before the token that is asked for
        """
        check_is_fitted(self)
        sources, targets = checked_pairs(X, y)
        pairs = self._pairs(sources, targets).take(filled_pairs(sources, targets))
        self.unknown_ = unknown_tokens(self.encoder_, pairs)
        encoder = self.encoder_.source if side == "source" else self.encoder_.target
        probe = probe_text_to_text(
            self.network_, self._built(), pairs, side=side, names=encoder.names(), unit=UNITS[self.level],
            sample=sample, seed=seed,
        )  # fmt: skip
        longest = self.lengths_.source if side == "source" else self.lengths_.target
        return as_trained(probe, self.resolved_, self.training_summary_, trained_steps=longest)

    def _written(
        self,
        X: Sequence[str],
        n: int,
        beam: int | None,
        length_penalty: float | None,
        coverage_penalty: float | None,
    ) -> list[list[tuple[str, float]]]:
        check_is_fitted(self)
        texts = checked_texts(X, "X")
        wanted = asked_beam(
            n,
            beam,
            self.length_penalty if length_penalty is None else length_penalty,
            self.coverage_penalty if coverage_penalty is None else coverage_penalty,
            usual=self.beam,
            vocabulary=self.encoder_.target.size,
            attends=self.network_.attends,
        )
        writer = self._writer
        sources = writer.read(texts)
        self.empty_, self.longer_, self.cut_ = sources.empty, sources.longer, sources.cut
        self.unknown_ = sources.unknown
        # Of who called predict, or predict_best.
        sources.warn(self.lengths_.source, stacklevel=3)
        with measuring(self.threads):
            return writer.written(sources, wanted, n)

    @property
    def _writer(self) -> TextWriter:
        return TextWriter(self.network_, self.encoder_, self.lengths_, self.level, self._source_limit)

    @property
    def _source_limit(self) -> int | None:
        return getattr(self, "source_limit", None)

    def _pairs(self, sources: list[str], targets: list[str]) -> TokenPairs:
        pairs, self.cut_ = token_pairs(self.encoder_, sources, targets, self._source_limit)
        return pairs

    def _new_network(self, start: PairStart | None = None) -> SourceToTarget:
        return new_text_to_text_network(self.resolved_, self.encoder_, start)

    def _documents(self) -> dict[str, Any]:
        return {"encoder.json": self.encoder_.to_document(), "lengths.json": self.lengths_.to_document()}

    @classmethod
    def _document_names(cls, saved: Artifact) -> Sequence[str]:
        return "encoder.json", "lengths.json"

    def _restore(self, documents: dict[str, Any]) -> None:
        self.encoder_ = PairEncoder.from_document(documents["encoder.json"])
        self.lengths_ = Lengths(**documents["lengths.json"])
