"""Sources to batches: tables, text, series, vocabulary, scaler.

What needs torch or scipy is loaded on first use, so that reading a table does not wait for them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from storyline.data.columns import labels, tagged, texts, texts_or_empty, token_lists
from storyline.data.encoders import (
    BytePairEncoder,
    CharacterEncoder,
    PairEncoder,
    TextEncoder,
    WordEncoder,
    copy_unknown,
    text_encoder,
)
from storyline.data.order import ragged_order, split_validation
from storyline.data.pairs import (
    Pairs,
    aligned_pairs,
    filled_pairs,
    lines_table,
    read_lines,
    read_pairs,
    table_pairs,
)
from storyline.data.read import read_table
from storyline.data.scaler import Scaler
from storyline.data.series import Series, series
from storyline.data.source import DataError, read_text
from storyline.data.table import Table
from storyline.data.text_lists import answer_lists, turn_lists
from storyline.data.vocabulary import Vocabulary

_LATE = {
    "Batch": "storyline.data.batches",
    "PairBatch": "storyline.data.token_batches",
    "TokenPairs": "storyline.data.token_batches",
    "collate": "storyline.data.batches",
    "learn_word_vectors": "storyline.data.word2vec",
    "packed": "storyline.data.vector_files",
    "ppmi_vectors": "storyline.data.vectors",
    "read_word_vectors": "storyline.data.vector_files",
    "stream_chunks": "storyline.data.batches",
    "token_order": "storyline.data.token_batches",
    "word2vec_text": "storyline.data.vector_files",
}

if TYPE_CHECKING:
    from storyline.data.batches import Batch, collate, stream_chunks
    from storyline.data.token_batches import PairBatch, TokenPairs, token_order
    from storyline.data.vector_files import packed, read_word_vectors, word2vec_text
    from storyline.data.vectors import ppmi_vectors
    from storyline.data.word2vec import learn_word_vectors

__all__ = [
    "Batch",
    "BytePairEncoder",
    "CharacterEncoder",
    "DataError",
    "PairBatch",
    "PairEncoder",
    "Pairs",
    "Scaler",
    "Series",
    "Table",
    "TextEncoder",
    "TokenPairs",
    "Vocabulary",
    "WordEncoder",
    "aligned_pairs",
    "answer_lists",
    "collate",
    "copy_unknown",
    "filled_pairs",
    "labels",
    "learn_word_vectors",
    "lines_table",
    "packed",
    "ppmi_vectors",
    "ragged_order",
    "read_lines",
    "read_pairs",
    "read_table",
    "read_text",
    "read_word_vectors",
    "series",
    "split_validation",
    "stream_chunks",
    "table_pairs",
    "tagged",
    "text_encoder",
    "texts",
    "texts_or_empty",
    "token_lists",
    "token_order",
    "turn_lists",
    "word2vec_text",
]


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(
            f"module 'storyline.data' has no attribute {name!r}; it has {', '.join(__all__)}"
        )
    return getattr(import_module(_LATE[name]), name)
