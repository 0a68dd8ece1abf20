"""What users hand to an estimator, checked: texts, or series as one array or as a list of arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np

Kind = Literal["text", "table", "array", "ragged"]

# One array (n, time, channels), or arrays (time_i, channels): indexing gives one series either way.
Series = np.ndarray | list[np.ndarray]


# Models compute in float32; what lies beyond it is as good as infinite.
_LARGEST = float(np.finfo(np.float32).max)


def kind_of(X: Any) -> Kind:
    """What X is: "text" (strings), "table" (2-D: n series of one channel, a column a step), "array"
    (n, time, channels), or "ragged" (a list of arrays (time,) or (time, channels)).
    """
    if isinstance(X, str | bytes):
        raise ValueError("X is one string; give a list of texts, [text] for a single one")
    shape = getattr(X, "shape", None)
    if shape is not None and len(shape) >= 2:
        return "array" if len(shape) == 3 else "table"
    if isinstance(X, dict):
        raise ValueError("X is a dict; give a list of texts, a list of arrays, or an array")
    if not hasattr(X, "__len__") and not hasattr(X, "__array__"):
        raise ValueError(
            f"X is of the type {type(X).__name__}; give a list of texts, a list of arrays, or an array"
        )
    first = next(iter(X), None) if hasattr(X, "__len__") else None
    if isinstance(first, str):
        return "text"
    if isinstance(first, list | tuple):
        nested = any(np.ndim(value) for row in X for value in row[:1])
        return "ragged" if nested or len({len(row) for row in X}) > 1 else "table"
    return "ragged" if getattr(first, "ndim", 0) else "table"


def check_list(X: Any, name: str, of: str) -> list[Any]:
    """X as a list; ValueError for a single string, and for what is no collection."""
    if isinstance(X, str | bytes) or not isinstance(X, Iterable):
        what = "one string" if isinstance(X, str) else f"of the type {type(X).__name__}"
        raise ValueError(f"{name} is {what}; give a list of {of}")
    return list(X)


def check_pair(validation: Any) -> tuple[Any, Any]:
    """`validation` as (X, y); ValueError where it is no pair."""
    if not isinstance(validation, tuple | list) or len(validation) != 2:
        raise ValueError(
            f"validation is of the type {type(validation).__name__}; give a pair (X, y), or None for a part of X"
        )
    inputs, targets = validation
    return inputs, targets


def check_text(text: Any, name: str) -> str:
    """`text`, which is a string that a file can hold; ValueError where it is not."""
    if not isinstance(text, str):
        raise ValueError(f"{name} is {type(text).__name__}; give a text")
    refuse_surrogates(text, name)
    return text


def refuse_surrogates(text: str, name: str) -> None:
    """ValueError where `text` holds half of a surrogate pair: a vocabulary with it could be learned, but not saved."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{name} holds {text[error.start]!r} as its character {error.start + 1}, half of a surrogate pair, "
            "which is no character; remove it"
        ) from None


def check_texts(X: Any, name: str = "X") -> list[str]:
    """X as a list of strings, none of them empty or blank, or with half a surrogate pair."""
    texts = check_list(X, name, "texts")
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(
                f"{name}[{index}] is {type(text).__name__}, the others are texts; give strings only"
            )
        if not text.strip():
            raise ValueError(f"{name}[{index}] is an empty text; leave it out, or give it at least one word")
        refuse_surrogates(text, f"{name}[{index}]")
    return texts


def check_array(X: Any, channels: int | None) -> np.ndarray:
    """X as floats (n, time, channels), finite; `channels` is what the model was fitted on, None in fit."""
    try:
        array = np.ascontiguousarray(_floats(X))
    except (TypeError, ValueError) as error:
        raise ValueError(f"X is an array that is not numeric ({error}); give numbers") from None
    if array.shape[1] == 0 or array.shape[2] == 0:
        raise ValueError(f"X has shape {array.shape}; every series needs at least one step and one channel")
    _check_channels(array.shape[2], channels, 0)
    if not (array.min(initial=0) >= -_LARGEST and array.max(initial=0) <= _LARGEST):
        broken = ~_usable(array).all(axis=(1, 2))
        _refuse_not_finite(array[broken][0], int(np.flatnonzero(broken)[0]))
    return array


def check_ragged(X: Sequence[Any], channels: int | None) -> list[np.ndarray]:
    """X as arrays (time_i, channels) of floats, finite, all with the same channels."""
    checked: list[np.ndarray] = []
    for index, item in enumerate(X):
        try:
            array = _floats(item)
        except (TypeError, ValueError) as error:
            raise ValueError(f"X[{index}] is not a numeric series ({error}); give numbers") from None
        if array.ndim == 1:
            array = array[:, None]
        if array.ndim != 2 or 0 in array.shape:
            raise ValueError(
                f"X[{index}] has shape {np.shape(item)}; a series is (time,) or (time, channels), with at "
                "least one step"
            )
        channels = channels or array.shape[1]
        _check_channels(array.shape[1], channels, index)
        if not _usable(array).all():
            _refuse_not_finite(array, index)
        checked.append(array)
    return checked


def _floats(X: Any) -> np.ndarray:
    """X as float32 where that holds it exactly, else as float64: rounding comes after scaling, not before."""
    array = np.asarray(X)
    kind = np.result_type(array.dtype, np.float32) if array.dtype.kind in "biuf" else np.float64
    return array.astype(np.float32 if kind == np.float32 else np.float64, copy=False)


def _usable(array: np.ndarray) -> np.ndarray:
    usable: np.ndarray = np.abs(array) <= _LARGEST
    return usable


def _check_channels(got: int, wanted: int | None, index: int) -> None:
    if wanted is not None and got != wanted:
        raise ValueError(
            f"X[{index}] has {got} channels, the series before it (or in fit) {wanted}; give the same"
        )


def _refuse_not_finite(series: np.ndarray, index: int) -> None:
    step, channel = (int(axis[0]) for axis in np.nonzero(~_usable(series)))
    value = series[step, channel]
    advice = "use another unit" if np.isfinite(value) else "fill or drop missing values first"
    raise ValueError(f"X[{index}] holds {value} at step {step}, channel {channel}; {advice}")


def lengths_of(sequences: Any) -> np.ndarray:
    """Steps of each sequence, int64 (n,)."""
    if isinstance(sequences, np.ndarray):
        return np.full(len(sequences), sequences.shape[1], dtype=np.int64)
    return np.fromiter((len(sequence) for sequence in sequences), dtype=np.int64, count=len(sequences))
