"""Settings of the estimators that read one text and write another."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from storyline.tasks.settings import Auto, ModelSettings, Share

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
    def _parts_go_together(self) -> Self:
        if self.core == "transformer":
            if self.gnmt or self.input_feeding:
                name = "gnmt" if self.gnmt else "input_feeding"
                raise ValueError(
                    f"{name}=True is for recurrent models, and core is 'transformer'; set it to False"
                )
            if self.hidden_size % self.num_heads:
                raise ValueError(
                    f"hidden_size={self.hidden_size} is no multiple of num_heads={self.num_heads}; each head reads "
                    "an equal share of it"
                )
        elif self.attention is None and (self.gnmt or self.input_feeding or self.copying):
            name = "gnmt" if self.gnmt else "input_feeding" if self.input_feeding else "copying"
            raise ValueError(
                f"{name}=True needs attention, and attention is None; choose one, such as 'additive'"
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
