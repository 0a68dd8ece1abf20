"""Settings of the estimators that foretell the next token: a LanguageModel and a Chatbot."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from storyline.tasks.settings import Auto, ModelSettings, Share


class NextTokenSettings(ModelSettings):
    """What reads: a recurrent core or a Transformer, which differ by one word."""

    # What has a default here is not in models that were saved before there was the choice.

    specials: ClassVar[int] = 3

    core: Literal["lstm", "gru", "rnn", "transformer"]  # type: ignore[assignment]
    num_heads: PositiveInt = 4
    window: PositiveInt | Auto | None = None
    dropout: Share
    average_last: Annotated[int, Field(ge=2)] | None = None

    @model_validator(mode="after")
    def _core_has_its_settings(self) -> Self:
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

    def window_for(self, longest: int) -> int | None:
        """What `window` becomes: "auto" is `longest`; a recurrent core has none."""
        if self.window != "auto":
            return self.window
        return longest if self.core == "transformer" else None
