"""Storyline: sequence models that remember, and that can prove how far back.

Names are loaded on first use, so that importing the package costs nothing before torch is needed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "RNN": "storyline.layers",
    "LSTM": "storyline.layers",
    "GRU": "storyline.layers",
    "SLSTM": "storyline.layers",
    "CellStack": "storyline.layers",
    "accelerate": "storyline.layers",
    "restore": "storyline.layers",
    "Classifier": "storyline.tasks",
    "Tagger": "storyline.tasks",
    "LanguageModel": "storyline.tasks",
    "Summarizer": "storyline.tasks",
    "Translator": "storyline.tasks",
    "Answerer": "storyline.tasks",
    "Chatbot": "storyline.tasks",
    "WordVectors": "storyline.tasks",
    "load": "storyline.tasks",
    "assert_remembers": "storyline.memory",
    "diagnose": "storyline.memory",
    "horizon": "storyline.memory",
    "required_horizon": "storyline.memory",
}

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "SLSTM",
    "Answerer",
    "CellStack",
    "Chatbot",
    "Classifier",
    "LanguageModel",
    "Summarizer",
    "Tagger",
    "Translator",
    "WordVectors",
    "__version__",
    "accelerate",
    "assert_remembers",
    "diagnose",
    "horizon",
    "load",
    "required_horizon",
    "restore",
]

if TYPE_CHECKING:
    from storyline.layers import GRU, LSTM, RNN, SLSTM, CellStack, accelerate, restore
    from storyline.memory import assert_remembers, diagnose, horizon, required_horizon
    from storyline.tasks import (
        Answerer,
        Chatbot,
        Classifier,
        LanguageModel,
        Summarizer,
        Tagger,
        Translator,
        WordVectors,
        load,
    )


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'storyline' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
