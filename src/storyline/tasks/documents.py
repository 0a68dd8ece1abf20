"""The texts of a LanguageModel: documents checked, their end held out, read as one row of ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from storyline.data import TextEncoder, text_encoder
from storyline.tasks.inputs import check_list, refuse_surrogates
from storyline.tasks.language_settings import LanguageModelSettings

Text = str | Sequence[str]
# Size of the vocabulary of byte-pairs, and how far a blank is looked for, in characters.
_SUBWORDS = 2_000
_LONGEST_WORD = 100


def check_documents(X: Text, name: str = "X") -> list[str]:
    """X as a list of documents; ValueError for what is no text, and for an empty one."""
    documents = [X] if isinstance(X, str) else check_list(X, name, "texts, or a single one")
    if not documents:
        raise ValueError(f"{name} holds no text; give a string, or a list of at least one")
    for index, document in enumerate(documents):
        if not isinstance(document, str):
            raise ValueError(f"{name}[{index}] is {type(document).__name__}; give a text, or a list of texts")
        if not document:
            raise ValueError(f"{name}[{index}] is an empty text; leave it out")
        refuse_surrogates(document, f"{name}[{index}]")
    return documents


def hold_out_end(documents: list[str], fraction: float) -> tuple[list[str], list[str]]:
    """(training, held out): the end of the text, whole documents where there are several."""
    if fraction == 0:
        return documents, []
    if len(documents) > 1:
        kept = min(len(documents) - 1, round(len(documents) * (1 - fraction)))
        return documents[:kept], documents[kept:]
    (text,) = documents
    place = round(len(text) * (1 - fraction))
    # Not in the middle of a word, where there is a blank near by.
    place = text.rfind(" ", max(0, place - _LONGEST_WORD), place) + 1 or place
    return [text[:place]], [text[place:]] if place < len(text) else []


def new_encoder(settings: LanguageModelSettings) -> TextEncoder:
    """The encoder that the settings ask for, not fitted yet."""
    options: dict[str, Any] = {"lowercase": settings.lowercase, "min_count": settings.min_count, "end": True}
    if settings.level == "word":
        options["whitespace"] = settings.whitespace
    elif settings.level == "subword":
        options |= {"max_size": _SUBWORDS, "min_count": max(2, settings.min_count)}
    if settings.max_vocabulary is not None:
        options["max_size"] = settings.max_vocabulary
    return text_encoder(settings.level, **options)


def encode_documents(encoder: TextEncoder, documents: list[str], *, ended: bool) -> np.ndarray:
    """One text of all documents, ids (n,).

    ended: <end> stands after each. That belongs to the model, not to how many documents come: a model that learned
    several expects it after a single one, too, and one that learned none would be scored on what it never saw.
    """
    encoded = encoder.encode_all(documents)
    if ended:
        end = np.array([encoder.end_id], dtype=np.int64)
        encoded = [part for ids in encoded for part in (ids, end)]
    return np.concatenate(encoded) if encoded else np.empty(0, dtype=np.int64)


def encode_contexts(encoder: TextEncoder, context: Text | None, count: int) -> list[np.ndarray]:
    """The ids read before each of `count` texts, none where no context is given; ValueError where they do not fit."""
    if context is None:
        return []
    given = check_documents(context, "context")
    if len(given) != count and not isinstance(context, str):
        raise ValueError(f"there are {len(given)} contexts for {count} texts; give one, or one a text")
    found = encoder.encode_all(given)
    if any(len(row) == 0 for row in found):
        raise ValueError("a context has no token; give context=None where nothing stands before the text")
    return found * count if isinstance(context, str) else found
