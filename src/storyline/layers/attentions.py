"""The attentions by their names."""

from __future__ import annotations

from storyline.layers.attention import (
    AdditiveAttention,
    Attention,
    DotAttention,
    GeneralAttention,
    LocalAttention,
    MultiHeadAttention,
)
from storyline.layers.coverage_attention import CoverageAttention

ATTENTIONS: dict[str, type[Attention]] = {
    "additive": AdditiveAttention,
    "dot": DotAttention,
    "general": GeneralAttention,
    "local": LocalAttention,
    "multihead": MultiHeadAttention,
    "coverage": CoverageAttention,
}


def new_attention(name: str, query_size: int, source_size: int) -> Attention:
    """The attention of this name in `ATTENTIONS`. Raises ValueError where there is none."""
    if name not in ATTENTIONS:
        raise ValueError(
            f"attention is {name!r}; it must be one of {', '.join(map(repr, ATTENTIONS))}, or None"
        )
    return ATTENTIONS[name](query_size, source_size)
