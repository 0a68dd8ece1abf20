"""Settings of a Chatbot."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import PositiveFloat, PositiveInt, model_validator

from storyline.tasks.settings import Auto, ModelSettings, Share

# From how many tokens on the softmax is sampled where that is "auto".
_MANY = 3_000


class ChatbotSettings(ModelSettings):
    """Settings of a Chatbot."""

    specials: ClassVar[int] = 3
    level: ClassVar[str] = "subword"

    core: Literal["lstm", "gru", "rnn", "transformer"]  # type: ignore[assignment]
    num_heads: PositiveInt
    window: PositiveInt | Auto | None
    embedding_size: PositiveInt | Auto
    softmax: Literal["full", "sampled", "auto"]
    candidates: PositiveInt
    dropout: Share
    longest: PositiveInt
    epochs: PositiveInt
    batch_tokens: PositiveInt
    learning_rate: PositiveFloat

    @model_validator(mode="after")
    def _parts_go_together(self) -> Self:
        if self.core != "transformer":
            if self.window not in ("auto", None):
                raise ValueError(f"window is for core='transformer', and core is {self.core!r}; leave it out")
            return self
        if self.hidden_size % self.num_heads:
            raise ValueError(
                f"hidden_size={self.hidden_size} is no multiple of num_heads={self.num_heads}; each head reads an "
                "equal share of it"
            )
        if self.learn_initial_state or self.remember not in ("auto", None):
            name = "learn_initial_state" if self.learn_initial_state else "remember"
            raise ValueError(
                f"{name} is for recurrent cores, and core is 'transformer'; leave it as it comes"
            )
        return self


def resolve_chatbot(
    settings: ChatbotSettings, *, remember: int | None, vocabulary: int, validated: bool
) -> ChatbotSettings:
    """The settings with every "auto" replaced, as the docstring of Chatbot says."""
    update: dict[str, Any] = {"remember": remember}
    if settings.window == "auto":
        update["window"] = settings.longest if settings.core == "transformer" else None
    if settings.embedding_size == "auto":
        update["embedding_size"] = settings.hidden_size
    if settings.softmax == "auto":
        update["softmax"] = "sampled" if vocabulary > _MANY else "full"
    return settings.model_copy(update=update if validated else {**update, "patience": None})
