"""Settings of a Chatbot."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from storyline.tasks.next_token_settings import NextTokenSettings
from storyline.tasks.settings import Auto

# From how many tokens on the softmax is sampled where that is "auto".
_MANY = 3_000


class ChatbotSettings(NextTokenSettings):
    """Settings of a Chatbot."""

    level: ClassVar[str] = "subword"

    embedding_size: PositiveInt | Auto
    softmax: Literal["full", "sampled", "auto"]
    candidates: PositiveInt
    longest: PositiveInt
    # Models that were saved before there was the choice have none.
    phrases: Annotated[int, Field(ge=1, le=64)] | None = None
    epochs: PositiveInt
    batch_tokens: PositiveInt
    learning_rate: PositiveFloat


def resolve_chatbot(
    settings: ChatbotSettings, *, remember: int | None, vocabulary: int, validated: bool
) -> ChatbotSettings:
    """The settings with every "auto" replaced, as the docstring of Chatbot says."""
    update: dict[str, Any] = {"remember": remember, "window": settings.window_for(settings.longest)}
    if settings.embedding_size == "auto":
        update["embedding_size"] = settings.hidden_size
    if settings.softmax == "auto":
        update["softmax"] = "sampled" if vocabulary > _MANY else "full"
    return settings.model_copy(update=update if validated else {**update, "patience": None})
