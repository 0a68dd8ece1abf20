"""What the constructors of the estimators accept: types, ranges, and what "auto" becomes."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

Share = Annotated[float, Field(ge=0, lt=1)]
Steps = Annotated[int, Field(ge=3)]
Auto = Literal["auto"]
# The vector of a word's spelling is half of either direction.
Even = Annotated[int, Field(ge=2, multiple_of=2)]
# Of byte-pairs the vocabulary begins with the bytes.
_BYTES = 256
# The generators of torch take no greater seed.
SEEDS = 2**63
# How many steps a classifier of series takes where its epochs are "auto".
_SERIES_STEPS = 1500
# Below so many series noise makes up for what is missing.
_FEW_SERIES = 5_000
Named = TypeVar("Named", bound=BaseModel)


class ModelSettings(BaseModel):
    """The settings that every task has: the recurrent core, and how it is trained."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    # Tokens that stand for none of the text: padding, unknown, and where documents end the end of one.
    specials: ClassVar[int] = 2

    core: Literal["lstm", "gru", "rnn"]
    hidden_size: PositiveInt
    num_layers: PositiveInt
    remember: Auto | Steps | None
    lowercase: bool
    min_count: PositiveInt
    max_vocabulary: PositiveInt | None
    learn_initial_state: bool
    backend: str
    max_steps: PositiveInt | None
    weight_decay: Annotated[float, Field(ge=0)]
    schedule: Literal["cosine", "one_cycle", "constant"]
    warmup: Share | None
    clip_norm: PositiveFloat | None
    average: Annotated[float, Field(gt=0, lt=1)] | None
    validation_fraction: Share
    validate_every: PositiveInt | None
    patience: PositiveInt | None
    restore_best: bool
    checkpoint_every: PositiveInt | None
    checkpoint_seconds: Annotated[float, Field(ge=0)] | None
    seed: Annotated[int, Field(ge=0, lt=SEEDS)]
    threads: PositiveInt | None
    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["32", "bf16"]

    @model_validator(mode="after")
    def _vocabulary_holds_words(self) -> Self:
        level = getattr(self, "level", "word")
        least = self.specials + (_BYTES if level == "subword" else 1)
        if self.max_vocabulary is not None and self.max_vocabulary < least:
            raise ValueError(
                f"max_vocabulary={self.max_vocabulary}; it must be {least} or more, for the {self.specials} special "
                f"tokens and {'the bytes' if level == 'subword' else f'a {level}'}"
            )
        return self


class ClassifierSettings(ModelSettings):
    """Settings of a Classifier."""

    dropout: Share | Auto
    epochs: PositiveInt | Auto
    batch_size: PositiveInt | Auto
    learning_rate: PositiveFloat | Auto
    bidirectional: bool | Auto
    pooling: Literal["last", "max", "mean", "auto"]
    level: Literal["word", "char", "subword"]
    embedding_size: PositiveInt | Auto
    freeze_vectors: bool = False  # not in models saved before there was the choice
    word_dropout: Annotated[float, Field(ge=0)]
    noise: Annotated[float, Field(ge=0)] | Auto
    label_smoothing: Share
    supervise_every: PositiveInt | None
    supervise_weight: PositiveFloat
    warm_start: bool

    @model_validator(mode="after")
    def _supervision_follows_the_state(self) -> Self:
        if self.supervise_every is not None and (
            self.bidirectional is True or self.pooling in ("max", "mean")
        ):
            raise ValueError(
                "supervise_every asks the head about the running state, so it needs pooling='last' and "
                "bidirectional=False"
            )
        return self


class TaggerSettings(ModelSettings):
    """Settings of a Tagger."""

    dropout: Share
    epochs: PositiveInt
    batch_size: PositiveInt
    learning_rate: PositiveFloat
    bidirectional: bool
    embedding_size: PositiveInt | Auto
    freeze_vectors: bool = False  # not in models saved before there was the choice
    character_size: PositiveInt
    spelling_size: Even
    word_dropout: Annotated[float, Field(ge=0)]
    label_smoothing: Share


class AnswererSettings(ModelSettings):
    """Settings of an Answerer."""

    specials = 3

    mode: Literal["span", "generate", "auto"]
    dropout: Share | Auto
    epochs: PositiveInt
    batch_size: PositiveInt
    learning_rate: PositiveFloat
    embedding_size: PositiveInt | Auto
    freeze_vectors: bool
    spelling_size: Even
    character_size: PositiveInt
    word_dropout: Annotated[float, Field(ge=0)]
    label_smoothing: Share
    word_vectors: bool | Auto
    hops: PositiveInt
    beam: PositiveInt = 1  # not in models saved before there was the choice
    longest: PositiveInt | Auto


def check_settings(kind: type[Named], given: dict[str, Any]) -> Named:
    """`given` as `kind`; a ValueError in one sentence names each setting that is unknown or out of range."""
    plain = {key: value.item() if isinstance(value, np.generic) else value for key, value in given.items()}
    try:
        return kind(**plain)
    except ValidationError as error:
        raise ValueError("; ".join(_sentences(kind, plain, error))) from None


def _sentences(kind: type[BaseModel], given: dict[str, Any], error: ValidationError) -> list[str]:
    wanted: dict[str, list[str]] = {}
    for item in error.errors():
        name = str(item["loc"][0]) if item["loc"] else ""
        message = str(item["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
        if message not in wanted.setdefault(name, []):
            wanted[name].append(message)
    sentences = []
    for name, messages in wanted.items():
        if not name:
            sentences.append("; ".join(messages))
        elif name not in kind.model_fields:
            near = get_close_matches(name, kind.model_fields, n=1)
            known = (
                f"did you mean {near[0]!r}?" if near else f"known settings: {', '.join(kind.model_fields)}"
            )
            sentences.append(f"unknown setting {name!r}; {known}")
        else:
            sentences.append(f"{name}={given.get(name)!r}; it must be {' or '.join(messages)}")
    return sentences


def resolve_classifier(
    settings: ClassifierSettings, *, text: bool, remember: int | None, examples: int
) -> ClassifierSettings:
    """The settings with every "auto" replaced, as the docstring of Classifier says."""
    one_way = settings.supervise_every is not None
    batch_size = 32 if settings.batch_size == "auto" else settings.batch_size
    passes = round(_SERIES_STEPS * batch_size / examples)
    become: dict[str, Any] = {
        "bidirectional": not one_way,
        "pooling": "last" if one_way else "max",
        "dropout": 0.5,
        "noise": 0.3 if not text and examples < _FEW_SERIES else 0.0,
        "epochs": 15 if text else min(100, max(10, passes)),
        "batch_size": batch_size,
        "learning_rate": 0.002 if text else 0.003,
    }
    automatic = {name: value for name, value in become.items() if getattr(settings, name) == "auto"}
    return settings.model_copy(update={**automatic, "remember": remember})
