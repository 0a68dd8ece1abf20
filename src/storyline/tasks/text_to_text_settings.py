"""Settings of the estimators that read one text and write another."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from storyline.data import TokenPairs
from storyline.tasks.estimator import steps_to_remember
from storyline.tasks.settings import Auto, ModelSettings, Share
from storyline.tasks.starting_vectors import embedding_size, refuse_frozen_noise
from storyline.tasks.word_vectors import WordVectors

# What a batch may hold where its size is "auto", and how many steps an epoch then has if it can.
_LEAST_TOKENS, _MOST_TOKENS, _STEPS = 250, 4_000, 100

AttentionName = Literal["additive", "dot", "general", "local", "multihead", "coverage"]


class TextToTextSettings(ModelSettings):
    """Settings of a Translator or a Summarizer."""

    specials: ClassVar[int] = 3

    core: Literal["lstm", "gru", "rnn", "slstm", "transformer"]  # type: ignore[assignment]
    attention: AttentionName | None
    input_feeding: bool
    gnmt: bool
    bidirectional: bool
    num_heads: PositiveInt
    feedforward_size: PositiveInt | Auto
    embedding_size: PositiveInt | Auto
    freeze_vectors: bool = False
    level: Literal["word", "char", "subword"]
    shared_vocabulary: bool
    tied: bool
    copying: bool
    coverage: Annotated[float, Field(ge=0)]
    dropout: Share
    recurrent_dropout: Share
    weight_dropout: Share
    word_dropout: Annotated[float, Field(ge=0)]
    label_smoothing: Share
    scheduled_sampling: Share
    longest: PositiveInt | None
    source_limit: PositiveInt | None = None
    beam: PositiveInt
    length_penalty: Annotated[float, Field(ge=0)]
    coverage_penalty: Annotated[float, Field(ge=0)]
    epochs: PositiveInt
    batch_tokens: PositiveInt | Auto
    learning_rate: PositiveFloat
    average_last: PositiveInt | None
    learn_initial_state: bool = False

    @model_validator(mode="after")
    def _core_has_its_settings(self) -> Self:
        heads = self.core == "transformer" or self.attention == "multihead"
        if heads and self.hidden_size % self.num_heads:
            raise ValueError(
                f"hidden_size={self.hidden_size} is no multiple of num_heads={self.num_heads}; each head reads "
                "an equal share of it"
            )
        if self.core == "transformer":
            self._refuse_recurrent()
        elif self.attention is None:
            for name in ("gnmt", "input_feeding", "copying", "coverage_penalty"):
                if getattr(self, name):
                    raise ValueError(
                        f"{name}={getattr(self, name)} needs attention, and attention is None; choose one, such as "
                        "'additive'"
                    )
        elif self.attention == "dot" and self.bidirectional and not self.gnmt:
            raise ValueError(
                "attention='dot' multiplies the states of decoder and encoder, and a bidirectional encoder's are twice "
                "as wide; take 'general', or set bidirectional=False"
            )
        if self.gnmt and (self.num_layers < 2 or self.hidden_size % 2):
            raise ValueError(
                f"gnmt=True parts hidden_size={self.hidden_size} into two directions at the bottom of num_layers="
                f"{self.num_layers}; give an even size and at least 2 layers"
            )
        if self.input_feeding and self.recurrent_dropout:
            raise ValueError(
                f"recurrent_dropout={self.recurrent_dropout} hides the same units for a whole target, which "
                "input_feeding=True reads token by token; take weight_dropout"
            )
        return self

    def _refuse_recurrent(self) -> None:
        unset: dict[str, object] = {
            "gnmt": False,
            "input_feeding": False,
            "recurrent_dropout": 0,
            "weight_dropout": 0,
            "backend": "auto",
        }
        if self.remember is not None:
            unset["remember"] = "auto"
        for name, value in unset.items():
            if getattr(self, name) != value:
                raise ValueError(
                    f"{name}={getattr(self, name)!r} is for recurrent models, and core is 'transformer'; leave it out"
                )

    @model_validator(mode="after")
    def _copying_is_possible(self) -> Self:
        if self.copying and self.attention == "local" and self.core != "transformer":
            raise ValueError(
                "copying=True reads attention as probabilities, and those of attention='local' sum to less than 1; "
                "take another attention"
            )
        if self.copying and not self.shared_vocabulary:
            raise ValueError(
                "copying=True puts tokens of the source into the target, so both need one vocabulary; set "
                "shared_vocabulary=True"
            )
        if self.copying and self.level == "word":
            raise ValueError(
                "copying=True needs level='subword' or 'char', where no word is unknown; level 'word' replaces <unk> "
                "by the source word with the most attention already"
            )
        if self.coverage and not self.copying:
            raise ValueError(
                f"coverage={self.coverage} is a loss of copying models; set copying=True, or coverage=0"
            )
        return self


def sized(
    settings: TextToTextSettings, vectors: WordVectors | None, target_vectors: WordVectors | None
) -> TextToTextSettings:
    """The settings with the embedding_size of the vectors given; ValueError where they do not go together."""
    refuse_frozen_noise(settings.freeze_vectors, vectors or target_vectors)
    if target_vectors is not None and settings.shared_vocabulary:
        raise ValueError(
            "shared_vocabulary=True gives both sides one embedding, and target_vectors were given; give vectors alone"
        )
    size: int | str = settings.embedding_size
    for given in (vectors, target_vectors):
        size = embedding_size(size, given, size)
    return settings.model_copy(update={"embedding_size": size})


def resolve_text_to_text(
    settings: TextToTextSettings, training: TokenPairs, *, patient: bool
) -> TextToTextSettings:
    """The settings with every "auto" replaced, as the docstring of Translator says."""
    typical = float(np.percentile(training.source_lengths, 95))
    update: dict[str, Any] = {"remember": steps_to_remember(settings, typical)}
    if settings.embedding_size == "auto":
        update["embedding_size"] = settings.hidden_size
    if settings.feedforward_size == "auto":
        update["feedforward_size"] = 4 * settings.hidden_size
    if settings.batch_tokens == "auto":
        tokens = int(training.source_lengths.sum() + training.target_lengths.sum())
        update["batch_tokens"] = min(_MOST_TOKENS, max(_LEAST_TOKENS, round(tokens / _STEPS)))
    if not patient:
        update["patience"] = None
    return settings.model_copy(update=update)
