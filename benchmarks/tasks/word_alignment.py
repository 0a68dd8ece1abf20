"""Which word of a source each word of its translation comes from: IBM model 1, then a hidden Markov model.

Sources: P. F. Brown et al. (1993), "The mathematics of statistical machine translation: parameter estimation",
Computational Linguistics 19(2), 263-311 (model 1, section 4.1); S. Vogel, H. Ney and C. Tillmann (1996), "HMM-based
word alignment in statistical translation", COLING; F. J. Och and H. Ney (2003), "A systematic comparison of various
statistical alignment models", Computational Linguistics 29(1), 19-51 (the empty word of the HMM, section 2.1.2).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import scipy.sparse

Sentences = Sequence[Sequence[str]]
NULL = ""  # the empty word, which target words come from that have no source
FROM_NULL = 0.2  # the probability of a target word that has none, in the HMM
LONGEST_JUMP = 40


class Links:
    """All pairs of words that could translate each other: of a source, with the empty word, and of its target.

    `places` says of each link which target word of the text it belongs to, `types` which pair of words it is.
    Links stand in the order of the pairs, then target words, then source words, the empty one first.
    """

    def __init__(self, sources: Sentences, targets: Sentences) -> None:
        if len(sources) != len(targets):
            raise ValueError(
                f"{len(sources)} sources came with {len(targets)} targets; give one target a source"
            )
        self.sources = _numbered([[NULL], *sources])
        self.targets = _numbered(targets)
        self.shapes = [
            (len(source) + 1, len(target)) for source, target in zip(sources, targets, strict=True)
        ]
        givens, mades = [], []
        for source, target in zip(sources, targets, strict=True):
            given = [self.sources[word] for word in (NULL, *source)]
            givens.append(np.tile(given, len(target)))
            mades.append(np.repeat([self.targets[word] for word in target], len(given)))
        keys = np.concatenate(givens) * len(self.targets) + np.concatenate(mades).astype(np.int64)
        keys, self.types = np.unique(keys, return_inverse=True)
        self.rows, self.columns = keys // len(self.targets), keys % len(self.targets)
        lengths = np.array([length for length, words in self.shapes for _ in range(words)])
        self.places = np.repeat(np.arange(len(lengths)), lengths)

    def translations(self, counts: np.ndarray) -> np.ndarray:
        """t(target word | source word) of each type from expected counts of the links' types."""
        return counts / np.maximum(np.bincount(self.rows, counts), 1e-300)[self.rows]


def learn_translations(links: Links, iterations: int = 10) -> np.ndarray:
    """t(target word | source word) of IBM model 1, a number a type of link.

    Every target word is as likely to come from each word of its source: the expected count of a link is
    t(t | s) / sum_s' t(t | s'), and t(t | s) is the count's share among those of s (eqs. 13 and 14).
    """
    probabilities = np.ones(len(links.rows))
    for _ in range(iterations):
        share = probabilities[links.types]
        share /= np.bincount(links.places, share)[links.places]
        probabilities = links.translations(np.bincount(links.types, share))
    return probabilities


class WordByWord:
    """The likeliest target word, by IBM model 1, of each source word, in the source's order."""

    def __init__(self, sources: Sentences, targets: Sentences) -> None:
        links = Links(sources, targets)
        shape = len(links.sources), len(links.targets)
        table = scipy.sparse.csr_array((learn_translations(links), (links.rows, links.columns)), shape=shape)
        names = list(links.targets)
        self._likeliest = {
            word: names[table.indices[begin + table.data[begin:end].argmax()]]
            for word, begin, end in zip(links.sources, table.indptr[:-1], table.indptr[1:], strict=True)
        }

    def translate(self, tokens: Sequence[str]) -> list[str]:
        """A word for a word; an unknown one stands for itself."""
        return [self._likeliest.get(word, word) for word in tokens]


class HiddenMarkovAligner:
    """Each target word's source word hangs on the one before: p = (1 - FROM_NULL) p(jump) t(target | source).

    A word of no source comes with FROM_NULL t(target | empty), and the place that the next jump starts from stays.
    p(jump) is by the distance alone, normed over the places that the source has, the first jump from before it.
    """

    def __init__(self, links: Links, iterations: int = 5) -> None:
        self._links = links
        self._probabilities = learn_translations(links, 5)
        self._jumps = np.ones(2 * LONGEST_JUMP + 1)
        self._groups = list(_groups(links.shapes))
        for _ in range(iterations):
            self._improve()

    def alignments(self) -> list[np.ndarray]:
        """Of each pair the likeliest source word of every target word by its own posterior; -1: none; (target,)."""
        found: list[np.ndarray] = [np.zeros(0, dtype=np.int64)] * len(self._links.shapes)
        for indices, starts, length, words in self._groups:
            posterior, _ = self._posterior(starts, length, words)
            best = posterior.argmax(2) - 1  # by the order of the links, the empty word is the first
            for index, row in zip(indices, best, strict=True):
                found[index] = row
        return found

    def _improve(self) -> None:
        """One step of expectation maximisation."""
        counts = np.zeros(len(self._links.rows))
        jumps = np.full_like(self._jumps, 0.1)  # no distance is impossible
        for _, starts, length, words in self._groups:
            posterior, moves = self._posterior(starts, length, words)
            types = self._links.types[starts[:, None] + np.arange(length * words)]
            counts += np.bincount(types.ravel(), posterior.ravel(), len(counts))
            np.add.at(jumps, _distances(length - 1), moves)
        self._probabilities = self._links.translations(counts)
        self._jumps = jumps / jumps.sum()

    def _posterior(self, starts: np.ndarray, length: int, words: int) -> tuple[np.ndarray, np.ndarray]:
        """(pairs, words, length): how likely each link is; and the expected moves (length, length - 1), summed.

        The state is the place of the last source word that was used, 0 before any, and whether the word came from it.
        """
        types = self._links.types[starts[:, None] + np.arange(length * words)]
        emitted = self._probabilities[types].reshape(len(starts), words, length)
        moves = self._jumps[_distances(length - 1)]
        moves = (1 - FROM_NULL) * moves / moves.sum(1, keepdims=True)
        null, real = FROM_NULL * emitted[:, :, :1], emitted[:, :, 1:]
        forward = np.zeros((words + 1, len(starts), length))  # the place used last, after each word
        forward[0, :, 0] = 1
        moved = np.zeros((words, len(starts), length - 1))
        for word in range(words):
            moved[word] = (forward[word] @ moves) * real[:, word]
            after = forward[word] * null[:, word]
            after[:, 1:] += moved[word]
            forward[word + 1] = after / np.maximum(after.sum(1, keepdims=True), 1e-300)
        backward = np.ones((len(starts), length))
        posterior = np.empty((len(starts), words, length))
        expected = np.zeros_like(moves)
        for word in reversed(range(words)):
            ahead = real[:, word] * backward[:, 1:]
            stayed = forward[word] * null[:, word] * backward
            total = (moved[word] * backward[:, 1:]).sum(1) + stayed.sum(1)
            scale = 1 / np.maximum(total, 1e-300)[:, None]
            posterior[:, word, 1:] = moved[word] * backward[:, 1:] * scale
            posterior[:, word, 0] = stayed.sum(1) * scale[:, 0]
            expected += (forward[word] * scale).T @ ahead * moves
            backward = ahead @ moves.T + null[:, word] * backward
            backward /= np.maximum(backward.sum(1, keepdims=True), 1e-300)
        return posterior, expected


def _distances(places: int) -> np.ndarray:
    """(places + 1, places): of the jump from each place, 0 before the first, to each, as an index of jumps."""
    distance = np.arange(1, places + 1) - np.arange(places + 1)[:, None]
    return np.clip(distance, -LONGEST_JUMP, LONGEST_JUMP) + LONGEST_JUMP


def _groups(shapes: Sequence[tuple[int, int]]) -> Iterator[tuple[np.ndarray, np.ndarray, int, int]]:
    """Pairs of the same lengths: (their numbers, their first links, source words with the empty one, target words)."""
    sizes = np.array(shapes)
    starts = np.concatenate([[0], np.cumsum(sizes.prod(1))[:-1]])
    kinds, which = np.unique(sizes, axis=0, return_inverse=True)
    order = np.argsort(which, kind="stable")
    for kind, indices in zip(kinds, np.split(order, np.cumsum(np.bincount(which))[:-1]), strict=True):
        yield indices, starts[indices], int(kind[0]), int(kind[1])


def _numbered(sentences: Sentences) -> dict[str, int]:
    return {
        word: number for number, word in enumerate(sorted({word for words in sentences for word in words}))
    }


def symmetrised(forward: np.ndarray, backward: np.ndarray) -> set[tuple[int, int]]:
    """(source, target) places linked, by grow-diag-final-and (Koehn, Och and Marcu 2003; Moses' variant).

    forward (target words,): the source place of each target word, backward (source words,): the other way; -1: none
    """
    ahead = {(int(place), word) for word, place in enumerate(forward) if place >= 0}
    back = {(place, int(word)) for place, word in enumerate(backward) if word >= 0}
    linked, union = ahead & back, ahead | back
    sources, targets = {place for place, _ in linked}, {word for _, word in linked}

    def add(place: int, word: int) -> None:
        linked.add((place, word))
        sources.add(place)
        targets.add(word)

    grown = True
    while grown:
        grown = False
        for place, word in sorted(linked):
            for across, down in _NEIGHBOURS:
                beside = place + across, word + down
                new = beside in union and beside not in linked
                if new and (beside[0] not in sources or beside[1] not in targets):
                    add(*beside)
                    grown = True
    for links in (ahead, back):
        for place, word in sorted(links):
            if place not in sources and word not in targets:
                add(place, word)
    return linked


_NEIGHBOURS = ((-1, 0), (0, -1), (1, 0), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1))
