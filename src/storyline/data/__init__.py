"""Sources to batches: tables, text, series, vocabulary, scaler.

What needs torch or scipy is loaded on first use, so that reading a table does not wait for them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from storyline.data.columns import labels, tagged, texts, token_lists
from storyline.data.encoders import (
    BytePairEncoder,
    CharacterEncoder,
    TextEncoder,
    WordEncoder,
    text_encoder,
)
from storyline.data.order import ragged_order, split_validation
from storyline.data.read import read_table
from storyline.data.scaler import Scaler
from storyline.data.series import Series, series
from storyline.data.source import DataError, read_text
from storyline.data.table import Table
from storyline.data.vocabulary import Vocabulary

_LATE = {
    "Batch": "storyline.data.batches",
    "collate": "storyline.data.batches",
    "stream_chunks": "storyline.data.batches",
    "learn_word_vectors": "storyline.data.word2vec",
    "packed": "storyline.data.vector_files",
    "ppmi_vectors": "storyline.data.vectors",
    "read_word_vectors": "storyline.data.vector_files",
    "word2vec_text": "storyline.data.vector_files",
}

if TYPE_CHECKING:
    from storyline.data.batches import Batch, collate, stream_chunks
    from storyline.data.vector_files import packed, read_word_vectors, word2vec_text
    from storyline.data.vectors import ppmi_vectors
    from storyline.data.word2vec import learn_word_vectors

__all__ = [
    "Batch",
    "BytePairEncoder",
    "CharacterEncoder",
    "DataError",
    "Scaler",
    "Series",
    "Table",
    "TextEncoder",
    "Vocabulary",
    "WordEncoder",
    "collate",
    "labels",
    "learn_word_vectors",
    "packed",
    "ppmi_vectors",
    "ragged_order",
    "read_table",
    "read_text",
    "read_word_vectors",
    "series",
    "split_validation",
    "stream_chunks",
    "tagged",
    "text_encoder",
    "texts",
    "token_lists",
    "word2vec_text",
]


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(
            f"module 'storyline.data' has no attribute {name!r}; it has {', '.join(__all__)}"
        )
    return getattr(import_module(_LATE[name]), name)
