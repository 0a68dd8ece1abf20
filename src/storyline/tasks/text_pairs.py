"""Pairs of texts made ready to learn from: checked, read as ids, parted, and what was left out counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from storyline.data import PairEncoder, TokenPairs, filled_pairs, split_validation
from storyline.tasks.inputs import check_list, refuse_surrogates
from storyline.tasks.text_to_text_settings import TextToTextSettings

Texts = list[str]
# Size of a vocabulary of byte-pairs.
_SUBWORDS = 8_000


@dataclass(frozen=True, eq=False)
class PreparedPairs:
    """What fit learns from, and what it learned of the texts.

    encoder     from texts to ids, of either side
    training    pairs to learn from
    validation  pairs to choose the best weights by; may be none
    dropped     how many pairs were left out: with an "empty" side, "longer" than `longest`; "validation": of those
                given to validate on, where some have an empty side
    cut         of how many sources only the beginning is read
    """

    encoder: PairEncoder
    training: TokenPairs
    validation: TokenPairs
    dropped: dict[str, int]
    cut: int

    @classmethod
    def of(
        cls,
        sources: Texts,
        targets: Texts,
        given: tuple[Texts, Texts] | None,
        settings: TextToTextSettings,
        source_limit: int | None,
    ) -> PreparedPairs:
        """Prepare checked texts; given: those to validate on, None: `validation_fraction` of the pairs are held out.

        Raises ValueError where nothing is left to learn from, or to validate on.
        """
        full = filled_pairs(sources, targets)
        rows, held_out = _parted(full, settings, given is not None)
        dropped = {"empty": len(sources) - len(full)}
        encoder = _learned([sources[row] for row in rows], [targets[row] for row in rows], settings)
        everything, cut = token_pairs(encoder, sources, targets, source_limit)
        training = everything.take(rows).within(settings.longest)
        dropped["longer"] = len(rows) - len(training)
        if not len(training):
            raise ValueError(
                f"no pair is left to learn from: of {len(sources)}, {dropped['empty']} have an empty side and "
                f"{dropped['longer']} are longer than longest={settings.longest}; give more pairs, or a "
                "greater longest="
            )
        validation = everything.take(held_out)
        if given is not None:
            kept = filled_pairs(*given)
            if not len(kept):
                raise ValueError(
                    f"validation holds {len(given[0])} pairs and none with two sides that are not empty; give some, or "
                    "None for a part of X"
                )
            validation = token_pairs(encoder, *given, source_limit)[0].take(kept)
            if len(kept) < len(given[0]):
                dropped["validation"] = len(given[0]) - len(kept)
        return cls(encoder, training, validation, dropped, cut)


def token_pairs(
    encoder: PairEncoder, sources: Texts, targets: Texts, source_limit: int | None
) -> tuple[TokenPairs, int]:
    """Pairs as ids, and of how many sources only the beginning is read."""
    ids, cut = source_ids(encoder, sources, source_limit)
    end = encoder.end_id
    return TokenPairs(ids, encoder.encode_targets(targets), end, end, np.arange(len(sources))), cut


def source_ids(
    encoder: PairEncoder, sources: Texts, source_limit: int | None
) -> tuple[list[np.ndarray], int]:
    """The ids of each source with its end, of one of more than `source_limit` tokens those of its beginning.

    And how many were cut so.
    """
    ids = encoder.encode_sources(sources)
    if source_limit is None:
        return ids, 0
    short = [np.append(row[:source_limit], row[-1]) if len(row) > source_limit + 1 else row for row in ids]
    return short, sum(len(row) > source_limit + 1 for row in ids)


def unknown_tokens(encoder: PairEncoder, pairs: TokenPairs) -> tuple[int, int]:
    """How many of how many source tokens are unknown."""
    read = [pairs.sources[row] for row in pairs.rows]
    return sum(map(encoder.source.unknown, read)), sum(map(len, read))


def checked_texts(X: Any, name: str) -> Texts:
    """X as a list of strings, which may be empty."""
    texts = check_list(X, name, "texts")
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(f"{name}[{index}] is {type(text).__name__}; give texts, '' where there is none")
        refuse_surrogates(text, f"{name}[{index}]")
    return texts


def checked_pairs(X: Any, y: Any, name: str = "") -> tuple[Texts, Texts]:
    """Sources X and targets y as lists of strings, as many of either."""
    sources, targets = checked_texts(X, f"{name}X"), checked_texts(y, f"{name}y")
    if len(sources) != len(targets):
        raise ValueError(
            f"{name}X holds {len(sources)} texts and {name}y {len(targets)}; give a target for each source"
        )
    return sources, targets


def _parted(full: np.ndarray, settings: TextToTextSettings, given: bool) -> tuple[np.ndarray, np.ndarray]:
    """Of the rows that can be learned those to learn from, and those that are held out."""
    if given or not settings.validation_fraction:
        return full, full[:0]
    if len(full) < 2:
        raise ValueError(
            f"{len(full)} pair can be learned, none of which can be held out; give more, or set validation_fraction=0"
        )
    kept, out = split_validation(len(full), settings.validation_fraction, settings.seed)
    return full[kept], full[out]


def _learned(sources: Texts, targets: Texts, settings: TextToTextSettings) -> PairEncoder:
    options: dict[str, Any] = {"lowercase": settings.lowercase, "min_count": settings.min_count}
    if settings.level == "subword":
        options |= {"max_size": _SUBWORDS, "min_count": max(2, settings.min_count)}
        options["leading_blank"] = settings.copying
    if settings.max_vocabulary is not None:
        options["max_size"] = settings.max_vocabulary
    return PairEncoder.learn(sources, targets, settings.level, shared=settings.shared_vocabulary, **options)
