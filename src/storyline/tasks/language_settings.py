"""Settings of a LanguageModel."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import PositiveFloat, PositiveInt, model_validator

from storyline.tasks.next_token_settings import NextTokenSettings
from storyline.tasks.settings import Auto
from storyline.tasks.starting_vectors import embedding_size, refuse_frozen_noise
from storyline.tasks.word_vectors import WordVectors

# From how many words on the softmax is sampled where that is "auto".
_MANY_WORDS = 5_000


class LanguageModelSettings(NextTokenSettings):
    """Settings of a LanguageModel."""

    specials = 3

    epochs: PositiveInt
    batch_size: PositiveInt
    learning_rate: PositiveFloat
    level: Literal["char", "word", "subword"]
    whitespace: bool
    embedding_size: PositiveInt | Auto
    tied: bool | Auto
    softmax: Literal["full", "sampled", "adaptive", "auto"]
    candidates: PositiveInt
    word_vectors: bool | Auto
    freeze_vectors: bool = False  # not in models saved before there was the choice
    shortcut: bool | Auto
    steps: PositiveInt

    @model_validator(mode="after")
    def _heads_go_together(self) -> Self:
        if self.softmax == "adaptive" and self.tied is True:
            raise ValueError("softmax='adaptive' cannot be tied; set tied=False, or softmax='sampled'")
        if self.softmax == "sampled" and self.tied is False:
            raise ValueError("softmax='sampled' is tied to the embedding; set tied=True, or another softmax")
        if self.word_vectors is True and self.level != "word":
            raise ValueError(f"word_vectors=True needs level='word', and level is {self.level!r}")
        return self


def sized(settings: LanguageModelSettings, vectors: WordVectors | None) -> LanguageModelSettings:
    """The settings with the embedding_size of the vectors given; ValueError where they do not go together."""
    refuse_frozen_noise(settings.freeze_vectors, vectors)
    if vectors is None:
        return settings
    if settings.word_vectors is True:
        raise ValueError("word_vectors=True learns vectors from the text, and vectors were given; drop one")
    size = embedding_size(settings.embedding_size, vectors, 0)
    return settings.model_copy(update={"embedding_size": size})


def resolve_language(
    settings: LanguageModelSettings,
    *,
    remember: int | None,
    vocabulary: int,
    validated: bool,
    given_vectors: bool = False,
) -> LanguageModelSettings:
    """The settings with every "auto" replaced, as the docstring of LanguageModel says."""
    characters = settings.level == "char"
    many = settings.level == "word" and vocabulary > _MANY_WORDS
    softmax = settings.softmax
    if softmax == "auto":
        softmax = "sampled" if many and settings.tied is not False else "full"
    tied = (not characters and softmax != "adaptive") if settings.tied == "auto" else settings.tied
    size = settings.embedding_size
    if size == "auto":
        size = min(64, settings.hidden_size) if characters else settings.hidden_size
    update: dict[str, Any] = {
        "softmax": softmax,
        "tied": tied,
        "embedding_size": size,
        "remember": remember,
        "window": settings.window_for(settings.steps),
        "word_vectors": many and not given_vectors
        if settings.word_vectors == "auto"
        else settings.word_vectors,
        "shortcut": many if settings.shortcut == "auto" else settings.shortcut,
    }
    return settings.model_copy(update=update if validated else {**update, "patience": None})
