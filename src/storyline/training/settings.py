"""How a training runs: every number that decides the result, checked before anything is computed."""

from __future__ import annotations

import difflib
import os
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from storyline.training.schedule import Schedule

Decay = Annotated[float, Field(ge=0, lt=1)]


class SettingsError(ValueError):
    """A setting that is unknown or out of range; the message names it."""


class TrainingSettings(BaseModel):
    """Settings of `train`. Unknown names and values out of range raise SettingsError, a ValueError.

    epochs              passes over the data
    max_steps           at most so many steps, also in the middle of an epoch; None: all epochs
    batch_size          for the program, which makes the batches
    learning_rate       the schedule's peak
    weight_decay        AdamW's; not applied to biases, embeddings and other one-dimensional parameters
    betas, epsilon      AdamW's
    schedule, warmup    "cosine", "one_cycle" or "constant"; warmup is a share of all steps
                        (None: 0.05 for cosine, 0.3 for one_cycle, 0 for constant)
    clip_norm           largest norm of the gradient; None: not clipped
    patience            stop after so many validations in a row without gain; None: never
    restore_best        end with the weights of the best validation (none: with the last)
    average             decay of the exponential moving average of the weights, which is then what is
                        validated and kept; at first it is (1 + step) / (10 + step), so that early weights fade
    average_last        at the end, validate the mean of the weights of the last so many validations too, and keep it
                        if it is the best (with restore_best=False: in any case). Each is one more copy of the weights,
                        in every checkpoint too. With `average`, it is the mean of those averages
    validate_every      in steps; None: after each epoch. The last step is always validated
    log_every           in steps: how often metrics.jsonl gets a line (each validation gives one, too)
    checkpoint_every    in steps; None: by time alone
    checkpoint_seconds  write a checkpoint when the last is so old; None: by steps alone
    seed                of torch's generator, and for the program's batches
    threads             torch's; None: the cores that this process may use, at most 4
    device              "auto": a CUDA device where there is one
    precision           "32", or "bf16": mixed precision, where the device can do it
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    epochs: int = Field(default=10, ge=1)
    max_steps: int | None = Field(default=None, ge=1)
    batch_size: int = Field(default=32, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0, allow_inf_nan=False)
    weight_decay: float = Field(default=0.01, ge=0, allow_inf_nan=False)
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    epsilon: float = Field(default=1e-8, gt=0, allow_inf_nan=False)
    schedule: Schedule = "cosine"
    warmup: float | None = Field(default=None, ge=0, lt=1)
    clip_norm: float | None = Field(default=1.0, gt=0, allow_inf_nan=False)
    patience: int | None = Field(default=None, ge=1)
    restore_best: bool = True
    average: float | None = Field(default=None, gt=0, lt=1)
    average_last: int | None = Field(default=None, ge=2)
    validate_every: int | None = Field(default=None, ge=1)
    log_every: int = Field(default=50, ge=1)
    checkpoint_every: int | None = Field(default=None, ge=1)
    checkpoint_seconds: float | None = Field(default=30.0, ge=0)
    seed: int = Field(default=0, ge=0, lt=2**63)
    threads: int | None = Field(default=None, ge=1)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["32", "bf16"] = "32"

    if not TYPE_CHECKING:  # type checkers read the fields above

        def __init__(self, **values: Any) -> None:
            try:
                super().__init__(**values)
            except ValidationError as error:
                raise SettingsError("; ".join(_sentence(item) for item in error.errors())) from None

    @field_validator("*", mode="before")
    @classmethod
    def _plain(cls, value: object) -> object:
        """Numbers of NumPy count as Python's, and TOML's arrays as tuples."""
        if isinstance(value, np.generic):
            return value.item()
        return tuple(value) if isinstance(value, list) else value


# What may differ between a run and its resumption: it decides when something is kept, or speed and rounding.
MAY_DIFFER = frozenset({"checkpoint_every", "checkpoint_seconds", "threads", "device"})


def available_threads() -> int:
    """The cores that this process may use, at most 4: small recurrent steps do not gain from more."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(4, cores)


_WANTED = {
    "greater_than": "greater than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "literal_error": "{expected}",
    "finite_number": "a finite number",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
}


def _sentence(error: Any) -> str:
    name = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, TrainingSettings.model_fields, n=1)
        known = ", ".join(TrainingSettings.model_fields)
        return f"unknown setting {name!r}; " + (
            f"did you mean {near[0]!r}?" if near else f"known are {known}"
        )
    wanted = _WANTED.get(error["type"])
    if wanted is None:
        return f"{name} is {error['input']!r}; {error['msg'][0].lower()}{error['msg'][1:]}"
    return f"{name} is {error['input']!r}; it must be {wanted.format(**error.get('ctx', {}))}"
