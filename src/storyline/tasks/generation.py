"""Drawing texts from a language model, and looking for the likeliest words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

from storyline.search import Sampling
from storyline.tasks.next_token import Carry, NextToken
from storyline.tasks.settings import SEEDS


def check_count(value: Any, name: str, least: int) -> int:
    """`value` as an int; ValueError where it is not a whole number, or below `least`."""
    if not _whole(value) or value < least:
        raise ValueError(f"{name} is {value!r}; it must be a whole number, {least} or more")
    return int(value)


def drawing(seed: int | None) -> torch.Generator:
    """A generator of its own for what is drawn; None: another drawing each time. ValueError as for a setting."""
    generator = torch.Generator()
    if seed is None:
        generator.seed()
        return generator
    if check_count(seed, "seed", 0) >= SEEDS:
        raise ValueError(f"seed is {seed}; it must be less than {SEEDS}")
    return generator.manual_seed(int(seed))


def _whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def warmed(network: NextToken, ids: np.ndarray) -> tuple[Tensor, Carry]:
    """Log probabilities (size,) of the token after `ids` (at least one), and the state there."""
    carry: Carry | None = None
    if len(ids) > 1:
        _, carry = network(torch.from_numpy(ids[None, :-1].copy()), carry)
    scores, carry = network.step(torch.from_numpy(ids[-1:].copy()), carry)
    return scores[0], carry


def continue_ids(
    network: NextToken,
    start: tuple[Tensor, Carry],
    length: int,
    sampling: Sampling,
    generator: torch.Generator,
    *,
    never: Sequence[int],
    end: int | None,
) -> list[int]:
    """`length` ids, fewer where `end` is drawn; those in `never` are not.

    start  log probabilities (size,) of the first of them, and the state before it
    """
    scores, carry = start
    found: list[int] = []
    while len(found) < length:
        scores[list(never)] = -torch.inf
        token = sampling.draw(scores, generator)
        if token == end:
            break
        found.append(token)
        following, carry = network.step(torch.tensor([token]), carry)
        scores = following[0]
    return found


def spell_words(
    network: NextToken,
    start: tuple[Tensor, Carry],
    k: int,
    *,
    inside: Callable[[int], bool],
    started: bool,
    never: Sequence[int],
    beam: int,
    longest: int,
) -> list[tuple[list[int], float]]:
    """The k likeliest words, spelled token by token by beam search, with their probabilities.

    start: as for `continue_ids`.
    A word ends where a token comes that is not `inside` a word; its probability is that of its spelling and of
    any such token after it. With `started` the text before ends in the middle of a word, which may be over already.
    Beam search keeps the `beam` likeliest beginnings, so a likely word with an unlikely beginning may be missed.
    """
    scores, carry = start
    size = len(scores)
    within = torch.tensor([inside(id_) for id_ in range(size)])
    scores = scores[None]
    spelled: list[list[int]] = [[]]
    totals = torch.zeros(1, dtype=torch.float64)
    words: list[tuple[list[int], float]] = []
    for position in range(longest + 1):
        scores = scores.double()
        scores[:, list(never)] = -torch.inf
        if position or started:
            over = totals + scores[:, ~within].logsumexp(1)
            words += [(ids, float(total.exp())) for ids, total in zip(spelled, over, strict=True)]
        if position == longest:
            break
        going = (totals[:, None] + scores).masked_fill(~within, -torch.inf).flatten()
        totals, places = going.topk(min(beam, int(torch.isfinite(going).sum())))
        kth = sorted((probability for _, probability in words), reverse=True)[k - 1 : k]
        if not len(totals) or (kth and float(totals[0].exp()) <= kth[0]):
            break
        rows, tokens = places // size, places % size
        spelled = [[*spelled[row], token] for row, token in zip(rows.tolist(), tokens.tolist(), strict=True)]
        scores, carry = network.step(tokens, {name: state[:, rows] for name, state in carry.items()})
    return sorted(words, key=lambda word: -word[1])[:k]
