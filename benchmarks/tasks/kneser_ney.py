"""Interpolated modified Kneser-Ney n-gram language model in numpy.

Source: S. F. Chen and J. Goodman (1999), "An empirical study of smoothing
techniques for language modeling", Computer Speech & Language 13, 359-394
(section 3, eqs. 17-26: discounts D1, D2, D3+ for each order, interpolation,
continuation counts for the lower orders).
"""

from __future__ import annotations

from typing import Self

import numpy as np


class KneserNey:
    """Interpolated modified Kneser-Ney over a closed vocabulary of ids 0..V-1.

    For the n-gram (h, w) with history h and shorter history h',

        p(w | h) = [max(c(h w) - D(c(h w)), 0) + gamma(h) p(w | h')] / c(h .),

    with gamma(h) = sum_w D(c(h w)).  At the highest order, c is the number of
    occurrences; below it, the number of distinct tokens seen before the
    n-gram.  An unseen history has no entry and hands p(w | h') through; the
    recursion ends in the uniform distribution 1 / V, so every token of the
    vocabulary has a positive probability and they sum to one.

    The text is one stream: histories run across line ends, and the first
    tokens of a text have the shorter histories that exist.

    Storage.  The k-gram types are numbered 0..N_k-1 in the order of the key
    ``id of their first k-1 tokens * V + last token`` (the empty history has
    id 0), so a look-up is one binary search per order and the continuations
    of one history are one slice.

    Parameters
    ----------
    order : int
        Length of the longest n-gram, at least 1.
    vocabulary : int, optional
        V; by default the largest training id plus one.
    """

    def __init__(self, order: int, vocabulary: int | None = None) -> None:
        if order < 1:
            raise ValueError(f"order must be at least 1, got {order}")
        self.order = order
        self.vocabulary = vocabulary

    def fit(self, tokens: np.ndarray) -> Self:
        """Count the n-grams of ``tokens`` (integers, shape [T]); returns self."""
        tokens = np.asarray(tokens, dtype=np.int64)
        if tokens.ndim != 1 or len(tokens) < self.order:
            raise ValueError(
                f"need a one-dimensional text of at least {self.order} tokens, got shape {tokens.shape}"
            )
        if self.vocabulary is None:
            self.vocabulary = int(tokens.max()) + 1
        self._check(tokens)

        self._keys, counts = [], []  # for k = 1..order: keys [N_k], counts [N_k]
        history = np.zeros(len(tokens) + 1, dtype=np.int64)  # id of the k-1 tokens before each t
        shorter = None  # ids of the (k-1)-grams that end at t = k-2, k-1, ...
        for k in range(1, self.order + 1):
            # Row j stands for the k-gram of tokens j .. j+k-1.
            keys = history[: len(tokens) - k + 1] * self.vocabulary + tokens[k - 1 :]
            types, first, ids, occurrences = np.unique(
                keys, return_index=True, return_inverse=True, return_counts=True
            )
            if k > 1:  # each k-gram type adds one to the (k-1)-gram that is its suffix
                counts[-1] = np.bincount(shorter[first + 1], minlength=len(counts[-1]))
            self._keys.append(types)
            counts.append(occurrences)
            history = shorter = ids

        self.discounts = []  # for k = 1..order: D(0), D(1), D(2), D(3+)
        self._kept, self._gamma = [], []
        for k, count in enumerate(counts, start=1):
            discount = self._discount(count)
            taken = discount[np.minimum(count, 3)]
            parent = self._keys[k - 1] // self.vocabulary
            histories = 1 if k == 1 else len(self._keys[k - 2])
            total = np.bincount(parent, count, histories)
            seen = np.maximum(total, 1)
            self.discounts.append(discount)
            self._kept.append((count - taken) / seen[parent])  # [N_k]
            mass = np.bincount(parent, taken, histories)
            self._gamma.append(np.where(total > 0, mass / seen, 1.0))  # [N_{k-1}]
        return self

    def probabilities(self, history: np.ndarray) -> np.ndarray:
        """Distribution of the token after ``history`` (ids, shape [any]); shape [V]."""
        history = np.asarray(history, dtype=np.int64).reshape(-1)
        history = history[max(0, len(history) - self.order + 1) :]
        self._check(history)
        p = np.full(self.vocabulary, 1 / self.vocabulary)
        for k in range(1, min(self.order, len(history) + 1) + 1):
            parent = 0
            for depth, token in enumerate(history[len(history) - k + 1 :]):
                parent = self._find(depth + 1, parent * self.vocabulary + token)
                if parent < 0:
                    return p
            lo, hi = np.searchsorted(
                self._keys[k - 1], [parent * self.vocabulary, (parent + 1) * self.vocabulary]
            )
            p = self._gamma[k - 1][parent] * p
            p[self._keys[k - 1][lo:hi] % self.vocabulary] += self._kept[k - 1][lo:hi]
        return p

    def log_probabilities(self, tokens: np.ndarray) -> np.ndarray:
        """Log-probability of each token of a text given those before it; [T] -> [T]."""
        tokens = np.asarray(tokens, dtype=np.int64)
        self._check(tokens)
        p = np.full(len(tokens), 1 / self.vocabulary)
        history = np.zeros(len(tokens) + 1, dtype=np.int64)
        for k in range(1, self.order + 1):
            # Row j stands for the k-gram of tokens j .. j+k-1, as in fit; -1 is "not seen".
            parent = history[: max(len(tokens) - k + 1, 0)]
            known = parent >= 0
            ids = np.where(known, self._find(k, parent * self.vocabulary + tokens[k - 1 :]), -1)
            kept = np.where(ids >= 0, self._kept[k - 1][ids], 0.0)
            gamma = np.where(known, self._gamma[k - 1][parent], 1.0)
            p[k - 1 :] = kept + gamma * p[k - 1 :]
            history = ids
        return np.log(p)

    def cross_entropy(self, tokens: np.ndarray) -> float:
        """Mean of -log p over ``tokens`` (ids, shape [T]), in nats per token."""
        return -float(self.log_probabilities(tokens).mean())

    def _find(self, k: int, keys: np.ndarray) -> np.ndarray:
        """Ids of the k-grams with these keys, -1 for those not seen; same shape as ``keys``."""
        types = self._keys[k - 1]
        ids = np.minimum(np.searchsorted(types, keys), len(types) - 1)
        return np.where(types[ids] == keys, ids, -1)

    def _check(self, tokens: np.ndarray) -> None:
        if len(tokens) and not (tokens.min() >= 0 and tokens.max() < self.vocabulary):
            raise ValueError(
                f"token ids must lie in 0..{self.vocabulary - 1}, got {tokens.min()}..{tokens.max()}"
            )

    @staticmethod
    def _discount(count: np.ndarray) -> np.ndarray:
        """D(0) = 0 and Chen & Goodman's D1, D2, D3+ (eq. 26) from the counts of counts; [4].

        Where those do not exist or leave 0 < D(c) <= c (a small alphabet has
        no token seen once, for instance), c / 2 stands in.
        """
        n1, n2, n3, n4 = np.bincount(np.minimum(count, 5), minlength=6)[1:5].astype(float)
        with np.errstate(divide="ignore", invalid="ignore"):
            y = n1 / (n1 + 2 * n2)
            d = np.array([1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3])
        c = np.array([1.0, 2.0, 3.0])
        return np.concatenate([[0.0], np.where((d > 0) & (d <= c), d, c / 2)])
