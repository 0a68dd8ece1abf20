"""How a model takes rows of differing length, read from its signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from storyline.layers import Recurrent


def ragged_manner(model: Callable[..., Any]) -> str:
    """How a model takes rows of differing length: by `lengths=`, packed, or only rows of one length at a time."""
    if isinstance(model, nn.RNNBase) and not isinstance(model, Recurrent):
        return "packed"
    return "grouped" if _lengths_of(model) is None else "lengths"


def wants_lengths(model: Callable[..., Any]) -> bool:
    """Whether a model cannot be called without `lengths`."""
    found = _lengths_of(model)
    return found is not None and found.default is inspect.Parameter.empty


def _lengths_of(model: Callable[..., Any]) -> inspect.Parameter | None:
    """The argument `lengths` of a model; None: it has none."""
    # a scripted nn.LSTM has two forwards, for tensors and for packed ones, and so none by that name
    called = getattr(model, "forward", model) if isinstance(model, nn.Module) else model
    try:
        return inspect.signature(called).parameters.get("lengths")
    except (TypeError, ValueError):
        return None
