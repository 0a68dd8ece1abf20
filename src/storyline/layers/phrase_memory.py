"""What followed the phrases of a text that is kept, beside what another model foretells."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

# Stands before every text; behind the last; between texts that are looked up. No token is negative.
_BEGIN, _NOWHERE, _APART = -1, -2, -3
# Classes of how often a phrase stands in the texts: once, up to 2, up to 4, ..., more often.
_UP_TO = [2**power for power in range(11)]
# Steps of the search for the weights, at most; the cost in nats beyond which it takes a probability for none.
_STEPS, _NONE = 500, 600.0
# Tokens of texts that are looked up together, about.
_TOGETHER = 16_384


class PhraseMemory(nn.Module):
    """Remembers texts word for word, and corrects by them the probabilities p_0 of another model.

    h_n is the phrase of the last n tokens before w, c(h w) how often w follows it in the texts, and c(h) the sum of
    that over all w:

        p_n(w) = (1 - a_n) p_(n-1)(w) + a_n c(h_n w) / c(h_n)    for n = 1, ..., `longest`, as long as c(h_n) > 0

    the interpolation of n-grams by Jelinek and Mercer (1980), which ends in the other model instead of in the
    frequencies of tokens. Each n and each class of c(h_n) (1, 2, 3-4, 5-8, ...) has a weight a_n of its own, which
    `fit_weights` chooses on texts that are not kept. So a phrase that stands once in the texts is trusted where others
    like it were right. No phrase reaches back beyond the beginning of its text; that it begins there counts as one
    token of it.

    longest  tokens of a phrase that is looked up, at least 1

    The texts lie in one array, and their places in the order of what begins there (a suffix array, Manber and Myers
    1993, as language models use it: Liu et al. 2024, "Infini-gram"): 8 bytes a token in memory and in the file. The
    places at which a phrase begins stand side by side in that order, and a token more narrows them by binary search. So
    what is kept of a text that is read is where its last 1, 2, ..., `longest` tokens stand, however long it becomes. An
    empty memory changes nothing.
    """

    text: Tensor
    order: Tensor
    weights: Tensor

    def __init__(self, longest: int) -> None:
        super().__init__()
        if not isinstance(longest, int) or longest < 1:
            raise ValueError(f"longest is {longest!r}; a phrase has one token or more")
        self.longest = longest
        for name in ("text", "order"):
            self.register_buffer(name, torch.empty(0, dtype=torch.int32))
        self.register_buffer("weights", torch.zeros(longest, len(_UP_TO) + 1, dtype=torch.float64))

    def keep(self, texts: Sequence[np.ndarray]) -> None:
        """Remember texts, ids (n_i,) each, in the place of those before; the weights stay as they are.

        Raises ValueError for ids that are no whole numbers, 0 or more.
        """
        for text in texts:
            if not np.issubdtype(text.dtype, np.integer) or text.min(initial=0) < 0:
                raise ValueError(
                    f"a text has ids of {text.dtype}, the least of them {text.min()}; ids are whole numbers, 0 or more"
                )
        begin = np.array([_BEGIN])
        parts = [part for text in texts for part in (begin, text)]
        text = np.concatenate(parts).astype(np.int64) if parts else np.empty(0, dtype=np.int64)
        if len(text) >= 2**31:
            raise ValueError(
                f"the texts have {len(text):,} tokens; a phrase memory keeps fewer than {2**31:,}"
            )
        device = self.text.device
        self.text = torch.from_numpy(text.astype(np.int32)).to(device)
        # With the token that follows, a phrase is one longer.
        self.order = torch.from_numpy(_order(text, self.longest + 1).astype(np.int32)).to(device)

    def fit_weights(self, texts: Sequence[np.ndarray], costs: Sequence[np.ndarray]) -> None:
        """Choose the weights so that other texts cost least, with one time more that each kind of phrase was wrong.

        So what the texts do not show has a weight of 0, and nothing one of 1.

        texts  ids (n_i,) each, at least one: like those to come, and none that are kept
        costs  of each text's last tokens, as many as it has costs: -log p_0 in nats
        """
        parts = list(self._looked_up(texts, costs))
        found, classes, base = (torch.cat(each) for each in zip(*parts, strict=True))
        base = base.clamp(max=_NONE).neg().exp()
        logits = torch.zeros_like(self.weights, requires_grad=True)
        search = torch.optim.LBFGS([logits], max_iter=_STEPS, line_search_fn="strong_wolfe")

        def cost() -> float:
            search.zero_grad()
            left, by_phrases = self._mixed(found, classes, logits.sigmoid())
            total = nn.functional.softplus(logits).sum() - (left * base + by_phrases).log().sum()
            total.backward()  # type: ignore[no-untyped-call]
            return total.item()

        with torch.enable_grad():
            search.step(cost)  # type: ignore[no-untyped-call]
        self.weights = logits.detach().sigmoid()

    def surprisal(self, texts: Sequence[np.ndarray], costs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """-log p of the same tokens as `costs`, which are -log p_0 of each text's last tokens in nats."""
        if len(self.text) == 0 or not texts:
            return list(costs)
        parts = []
        for found, classes, base in self._looked_up(texts, costs):
            left, by_phrases = self._mixed(found, classes, self.weights)
            parts.append(-torch.logaddexp(left.log() - base, by_phrases.log()))
        total = torch.cat(parts).cpu().numpy()
        return np.split(total, np.cumsum([len(cost) for cost in costs])[:-1])

    def first(self, rows: int) -> Tensor:
        """Where the phrases stand that end before the first token of `rows` texts, (rows, 2 * longest): from, up to."""
        nowhere = torch.zeros(rows, 2 * self.longest, dtype=torch.int64, device=self.text.device)
        if len(self.text) == 0:
            return nowhere
        return self._next(nowhere, torch.full((rows,), _BEGIN, device=self.text.device))

    def after(self, where: Tensor, ids: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Where the last phrases stand after ids (rows, time), of which `lengths` (rows,) count."""
        if len(self.text) == 0:
            return where
        time = ids.shape[1]
        if lengths is None and time > self.longest:
            # What was read before is in no phrase any more.
            ids, time, where = ids[:, -self.longest :], self.longest, torch.zeros_like(where)
        for step in range(time):
            following = self._next(where, ids[:, step])
            if lengths is not None:
                following = torch.where((step < lengths.to(where.device)).unsqueeze(1), following, where)
            where = following
        return where

    def log_probabilities(self, base: Tensor, where: Tensor) -> Tensor:
        """Log p of every token, (rows, size), from that of the other model and where the last phrases stand."""
        p = base.double().exp()
        for own, bounds in zip(p, where.view(len(where), 2, -1).transpose(1, 2).tolist(), strict=True):
            for n, (low, high) in enumerate(bounds):
                # What follows the end of a text is no token.
                following = self._token(slice(low, high), n + 1)
                counts = (following - _NOWHERE).bincount(minlength=len(own) - _NOWHERE)[-_NOWHERE:]
                if (seen := int(counts.sum())) == 0:
                    break
                weight = self.weights[n, bisect_left(_UP_TO, seen)]
                own.mul_(1 - weight).add_(weight / seen * counts)
        return p.log().to(base.dtype)

    def _looked_up(
        self, texts: Sequence[np.ndarray], costs: Sequence[np.ndarray]
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Of every token that has a cost, some texts at a time: c(h_n w) / c(h_n) and the class of c(h_n), -1 for none,
        (tokens, longest); the cost (tokens,).
        """
        for text, cost in zip(texts, costs, strict=True):
            if len(cost) > len(text) or not np.isfinite(cost).all():
                raise ValueError(
                    f"a text of {len(text)} tokens has the costs {cost}; give a number for each of its last tokens"
                )
        length, device = torch.arange(1, self.longest + 1), self.text.device
        ends = np.cumsum([len(text) for text in texts]) // _TOGETHER
        for group in np.split(np.arange(len(texts)), np.flatnonzero(np.diff(ends)) + 1):
            # A phrase of the first text may begin as long before it.
            rows, scored, at = [np.full(self.longest, _APART)], [], self.longest
            for place in group:
                rows += [np.array([_APART, _BEGIN]), texts[place]]
                at += 2 + len(texts[place])
                scored.append(np.arange(at - len(costs[place]), at))
            counts, followed = self._counts(torch.from_numpy(np.concatenate(rows)).to(device))
            begins = torch.from_numpy(np.concatenate(scored))[:, None] - length
            before, with_next = followed[begins, length - 1], counts[begins, length]
            classes = torch.bucketize(before, torch.tensor(_UP_TO, device=device))
            base = torch.from_numpy(np.concatenate([costs[place] for place in group])).double().to(device)
            yield with_next / before.clamp(min=1).double(), torch.where(before > 0, classes, -1), base

    def _mixed(self, found: Tensor, classes: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """What p_longest has of p_0, and what it adds to that, (tokens,) each, of what `_looked_up` gives."""
        left, by_phrases = torch.ones_like(found[:, 0]), torch.zeros_like(found[:, 0])
        for n in range(self.longest):
            weight = torch.where(classes[:, n] >= 0, weights[n, classes[:, n].clamp(min=0)], 0.0)
            left, by_phrases = (1 - weight) * left, (1 - weight) * by_phrases + weight * found[:, n]
        return left, by_phrases

    def _counts(self, row: Tensor) -> tuple[Tensor, Tensor]:
        """Of the phrases of 1, 2, ... tokens that begin at each place of a row, how often they stand in the texts, and
        how often a token follows them there: (places, longest + 1) each.
        """
        low, high = torch.zeros_like(row), torch.full_like(row, len(self.text))
        counts = row.new_zeros(len(row), self.longest + 1)
        followed = torch.zeros_like(counts)
        for n in range(self.longest + 1):
            alive = (high > low).nonzero().squeeze(1)
            alive = alive[alive + n < len(row)]
            own = self._narrowed(low[alive], high[alive], n, row[alive + n])
            low, high = (torch.zeros_like(row).index_copy(0, alive, bound) for bound in own)
            counts[:, n] = high - low
            # The ends of texts come first in the order of what follows.
            _, after_ends = self._narrowed(*own, n + 1, row.new_tensor(_BEGIN))
            followed[alive, n] = own[1] - after_ends
        return counts, followed

    def _next(self, where: Tensor, token: Tensor) -> Tensor:
        """Where the last phrases stand after a token (rows,) more: each is the phrase before it, narrowed."""
        low, high = where.chunk(2, dim=1)
        # Before one token stands the empty phrase, which is everywhere.
        low = nn.functional.pad(low[:, :-1], (1, 0))
        high = nn.functional.pad(high[:, :-1], (1, 0), value=len(self.text))
        length = torch.arange(self.longest, device=where.device)
        return torch.cat(self._narrowed(low, high, length, token.unsqueeze(1)), dim=1)

    def _narrowed(
        self, low: Tensor, high: Tensor, length: Tensor | int, token: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Of the places from low up to high in `order`, where phrases of `length` tokens begin, those that go on so."""
        # Side by side: the first place whose token is not less, and the first whose token is greater.
        first = torch.tensor([True, False], device=low.device).view(2, *[1] * low.dim())
        low, high = torch.stack([low, low]), torch.stack([high, high])
        while bool((open_ := low < high).any()):
            middle = (low + high) // 2
            found = self._token(middle.clamp(max=len(self.text) - 1), length)
            less = open_ & ((found < token) | (~first & (found == token)))
            low, high = torch.where(less, middle + 1, low), torch.where(open_ & ~less, middle, high)
        return low[0], low[1]

    def _token(self, places: Tensor | slice, later: Tensor | int) -> Tensor:
        """The token so much later than what stands at places of `order`; behind the last text less than any."""
        at = self.order[places] + later
        return torch.where(at < len(self.text), self.text[at.clamp(max=len(self.text) - 1)], _NOWHERE).long()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        # How much is remembered is known to the file alone.
        for name in ("text", "order"):
            if (saved := state_dict.get(prefix + name)) is not None:
                setattr(self, name, torch.empty_like(saved, device=self.text.device))
        super()._load_from_state_dict(state_dict, prefix, *rest)


def _order(text: np.ndarray, longest: int) -> np.ndarray:
    """The places of a text by what begins there, by `longest` tokens of it or more.

    By doubling (Manber and Myers 1993): what is sorted by k tokens is sorted by 2k with the rank of the k behind them.
    """
    rank, known = text - _BEGIN, 1
    while known < longest:
        behind = np.zeros_like(rank)
        behind[:-known] = rank[known:] + 1
        _, rank = np.unique(rank * (behind.max(initial=0) + 1) + behind, return_inverse=True)
        known *= 2
    return np.argsort(rank, kind="stable")
