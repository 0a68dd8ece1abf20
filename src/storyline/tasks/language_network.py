"""The network of a LanguageModel: its heads, and where its vectors start."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from storyline.data import TextEncoder, WordEncoder, ppmi_vectors
from storyline.layers import AdaptiveHead, LinearHead, SampledHead, TiedHead, TokenEmbedding
from storyline.tasks.language_settings import LanguageModelSettings
from storyline.tasks.next_token import NextToken, new_core
from storyline.tasks.starting_vectors import StartingVectors, embedding_arguments, encoder_vectors
from storyline.tasks.word_vectors import WordVectors

# Adaptive softmax: the most frequent words, and ranges of rarer ones (Grave et al. 2017).
_CUTOFFS = (2_000, 10_000, 50_000)


def new_language_network(
    settings: LanguageModelSettings, encoder: TextEncoder, start: StartingVectors | None
) -> NextToken:
    """The network that resolved settings ask for, with its initial weights; draws from torch's generator.

    start  where the vectors of the tokens start, None: at random
    """
    assert settings.embedding_size != "auto"
    embedding = TokenEmbedding(
        encoder.size,
        settings.embedding_size,
        unknown_id=encoder.unknown_id,
        pad_id=encoder.pad_id,
        **embedding_arguments(start, encoder.size, freeze=settings.freeze_vectors),
    )
    return NextToken(
        embedding,
        new_core(settings, settings.embedding_size),
        _new_head(settings, torch.from_numpy(encoder.counts), embedding),
        dropout=0.0 if settings.level == "char" else settings.dropout,
        shortcut=bool(settings.shortcut),
    )


def language_vectors(
    settings: LanguageModelSettings, encoder: TextEncoder, ids: np.ndarray, vectors: WordVectors | None
) -> StartingVectors | None:
    """Where the vectors of the tokens start: at the given ones, or at what the training text teaches; None: at random.

    settings  resolved. ids: the training text
    """
    if vectors is not None:
        given = encoder_vectors(vectors, encoder, settings.seed)
        # A Transformer multiplies what it reads, which is made for vectors of length 1, see `Entrance`.
        return given.with_spread() if settings.core == "transformer" else given
    if not settings.word_vectors:
        return None
    assert isinstance(encoder, WordEncoder)
    assert settings.embedding_size != "auto"
    found = ppmi_vectors(
        [ids], encoder.vocabulary, settings.embedding_size, seed=settings.seed, name="embedding_size"
    )
    return StartingVectors(found)


def _new_head(
    settings: LanguageModelSettings, counts: Tensor, embedding: TokenEmbedding
) -> LinearHead | TiedHead | AdaptiveHead:
    classes, dropout = len(counts), settings.dropout
    size = settings.hidden_size + (embedding.weight.shape[1] if settings.shortcut else 0)
    if settings.softmax == "adaptive":
        cutoffs = _cutoffs(settings, classes, size)
        return AdaptiveHead(size, classes, cutoffs, dropout=dropout)
    head: LinearHead | TiedHead
    if settings.softmax == "sampled":
        head = SampledHead(
            embedding, counts=counts, candidates=settings.candidates, input_size=size, dropout=dropout
        )
    elif settings.tied:
        head = TiedHead(embedding, input_size=size, dropout=dropout)
    else:
        head = LinearHead(size, classes, dropout=dropout)
    # Before it has learned anything the model foretells the frequencies of the tokens.
    bias = head.linear.bias if isinstance(head, LinearHead) else head.bias
    with torch.no_grad():
        bias.copy_((counts.double() + 0.5).log() - (counts.double() + 0.5).sum().log())
    return head


def _cutoffs(settings: LanguageModelSettings, classes: int, size: int) -> list[int]:
    """Where the ranges of the adaptive softmax begin; ValueError names the setting that does not fit."""
    cutoffs = [cutoff for cutoff in _CUTOFFS if cutoff < classes]
    if not cutoffs:
        raise ValueError(
            f"softmax='adaptive' spends less on words beyond the first {_CUTOFFS[0]}, and the text gives only "
            f"{classes}; set softmax='full'"
        )
    # Each range reads a quarter of the channels that the range before it reads.
    least = 4 ** len(cutoffs)
    if size < least:
        raise ValueError(
            f"softmax='adaptive' needs hidden_size={least} or more for a vocabulary of {classes}, and hidden_size is "
            f"{settings.hidden_size}; make it larger, or set softmax='full'"
        )
    return cutoffs
