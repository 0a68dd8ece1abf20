"""Which phrases translate which, counted in aligned sentences, and how their order changes.

Sources: P. Koehn, F. J. Och and D. Marcu (2003), "Statistical phrase-based translation", NAACL (what a phrase pair is;
lexical weights, section 4.3); G. Foster, R. Kuhn and H. Johnson (2006), "Phrasetable smoothing for statistical machine
translation", EMNLP (absolute discounting, section 3.2); P. Koehn et al. (2005), "Edinburgh system description for the
2005 IWSLT speech translation evaluation" (orientation: monotone, swapped or discontinuous).
"""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

Sentences = Sequence[Sequence[str]]
Alignment = set[tuple[int, int]]  # (source place, target place)
Phrase = tuple[str, ...]

LONGEST = 6
FEATURES = (
    "p(target | source)",
    "p(source | target)",
    "lex(target | source)",
    "lex(source | target)",
    "phrases",
)
ORIENTATIONS = ("monotone", "swapped", "discontinuous")
KEPT = 20  # translations of one source phrase
PRIOR = 3.0  # how many observations the orientations of all phrases count beside those of one


class PhraseTable:
    """The translations of every source phrase, with the logarithms of their probabilities.

    After fit: `translations(phrase)` gives (target phrase, features, orientations): features in the order of FEATURES,
    the last of them 1 a phrase; orientations, in the order of ORIENTATIONS, relative to the phrase translated before.
    """

    def fit(self, sources: Sentences, targets: Sentences, alignments: Sequence[Alignment]) -> PhraseTable:
        """Count all phrase pairs of sentences with their alignments."""
        self._sources: dict[Phrase, int] = {}
        names: dict[Phrase, int] = {}
        numbers = array("q")  # source, target, orientation of each phrase pair that was met
        weights = array("d")  # its two lexical weights
        lexicon = Lexicon(sources, targets, alignments)
        for source, target, links in zip(sources, targets, alignments, strict=True):
            ahead, back = lexicon.weights(source, target, links)
            for start, end, first, last in _phrases(links, len(source), len(target)):
                numbers.append(self._sources.setdefault(tuple(source[start:end]), len(self._sources)))
                numbers.append(names.setdefault(tuple(target[first:last]), len(names)))
                numbers.append(_orientation(links, start, end, first))
                weights.append(ahead[last] - ahead[first])
                weights.append(back[end] - back[start])
        self._targets = list(names)
        self._count(np.array(numbers).reshape(-1, 3).T, np.array(weights).reshape(-1, 2))
        return self

    def _count(self, met: np.ndarray, weights: np.ndarray) -> None:
        source, target, orientation = met
        keys, pairs, counts = np.unique(
            source * len(self._targets) + target, return_inverse=True, return_counts=True
        )
        rows, columns = keys // len(self._targets), keys % len(self._targets)
        likeliest = np.full((len(keys), 2), -np.inf)  # of the alignments that a pair was met with
        np.maximum.at(likeliest, pairs, weights)
        given_source, given_target = _discounted(counts, rows, columns), _discounted(counts, columns, rows)
        features = np.stack([given_source, given_target, *likeliest.T, np.ones(len(keys))], axis=1)
        turns = np.bincount(pairs * 3 + orientation, minlength=3 * len(keys)).reshape(-1, 3)
        usual = turns.sum(0) + 1  # so that no orientation is impossible
        turned = turns + PRIOR * usual / usual.sum()
        turned = np.log(turned / turned.sum(1, keepdims=True))
        order = np.lexsort((-features[:, :4].sum(1), rows))
        begins = np.searchsorted(rows[order], np.arange(len(self._sources) + 1))
        self._begins, self._columns = begins, columns[order]
        self._features, self._orientations = features[order], turned[order]

    def translations(self, phrase: Sequence[str]) -> list[tuple[Phrase, np.ndarray, np.ndarray]]:
        """The KEPT likeliest by the sum of the features; none of a phrase that was not met."""
        row = self._sources.get(tuple(phrase))
        if row is None:
            return []
        begin, end = self._begins[row], min(self._begins[row + 1], self._begins[row] + KEPT)
        return [
            (self._targets[self._columns[place]], self._features[place], self._orientations[place])
            for place in range(begin, end)
        ]


class Lexicon:
    """How often words of either side are linked to one another, None standing for no word."""

    def __init__(self, sources: Sentences, targets: Sentences, alignments: Sequence[Alignment]) -> None:
        self._linked: Counter[tuple[str | None, str | None]] = Counter()
        self._source: Counter[str | None] = Counter()
        self._target: Counter[str | None] = Counter()
        for source, target, links in zip(sources, targets, alignments, strict=True):
            sources_of, targets_of = _links_of(links)
            pairs: list[tuple[str | None, str | None]] = [(source[a], target[b]) for a, b in links]
            pairs += [(None, word) for place, word in enumerate(target) if place not in sources_of]
            pairs += [(word, None) for place, word in enumerate(source) if place not in targets_of]
            for a, b in pairs:
                self._linked[a, b] += 1
                self._source[a] += 1
                self._target[b] += 1

    def weights(self, source: Sequence[str], target: Sequence[str], links: Alignment) -> list[np.ndarray]:
        """Logarithms of the lexical weights of the target given the source, and back, summed up to each word.

        A word's weight is the mean of w(word | linked word) over its links (eq. 7 of Koehn et al. 2003); what is linked
        to a word of a phrase lies in the phrase, so that a phrase's weight is a difference of two sums.
        """
        sources_of, targets_of = _links_of(links)
        ahead = [
            np.mean(
                [
                    self._linked[given, word] / self._source[given]
                    for given in self._at(source, sources_of[place])
                ]
            )
            for place, word in enumerate(target)
        ]
        back = [
            np.mean(
                [
                    self._linked[word, given] / self._target[given]
                    for given in self._at(target, targets_of[place])
                ]
            )
            for place, word in enumerate(source)
        ]
        return [np.concatenate([[0.0], np.cumsum(np.log(part))]) for part in (ahead, back)]

    @staticmethod
    def _at(words: Sequence[str], places: list[int]) -> list[str | None]:
        return [words[place] for place in places] or [None]


def _links_of(links: Alignment) -> tuple[defaultdict[int, list[int]], defaultdict[int, list[int]]]:
    """Source places by target place, and target places by source place."""
    sources_of: defaultdict[int, list[int]] = defaultdict(list)
    targets_of: defaultdict[int, list[int]] = defaultdict(list)
    for a, b in links:
        sources_of[b].append(a)
        targets_of[a].append(b)
    return sources_of, targets_of


def _phrases(links: Alignment, source_words: int, target_words: int) -> Iterator[tuple[int, int, int, int]]:
    """(start, end, first, last) of source[start:end] and target[first:last] whose links all stay inside the pair."""
    sources_of, targets_of = _links_of(links)
    lowest = [min(sources_of[place], default=source_words) for place in range(target_words)]
    highest = [max(sources_of[place], default=-1) for place in range(target_words)]
    for start in range(source_words):
        first, last = target_words, -1
        for end in range(start + 1, min(start + LONGEST, source_words) + 1):
            if targets_of[end - 1]:
                first, last = min(first, *targets_of[end - 1]), max(last, *targets_of[end - 1])
            if last < 0 or last - first >= LONGEST:
                continue
            if min(lowest[first : last + 1]) < start or max(highest[first : last + 1]) >= end:
                continue
            begin = first
            while True:  # a word without a link may belong to the phrase beside it or not
                stop = last
                while stop - begin < LONGEST:
                    yield start, end, begin, stop + 1
                    stop += 1
                    if stop >= target_words or highest[stop] >= 0:
                        break
                begin -= 1
                if begin < 0 or highest[begin] >= 0 or last - begin >= LONGEST:
                    break


def _orientation(links: Alignment, start: int, end: int, first: int) -> int:
    """Of a phrase pair: what the target word before it is linked to, as a number of ORIENTATIONS."""
    if (start - 1, first - 1) in links or start == first == 0:
        return 0
    return 1 if (end, first - 1) in links else 2


def _discounted(counts: np.ndarray, given: np.ndarray, made: np.ndarray) -> np.ndarray:
    """Logarithms of p(made | given) = [(c - D) + D n(given) n(made) / pairs] / c(given).

    n: with how many different others something was met; D = n1 / (n1 + 2 n2), of the numbers of pairs met once and
    twice (Foster et al. 2006, after Kneser and Ney).
    """
    once, twice = np.sum(counts == 1), np.sum(counts == 2)
    discount = once / max(once + 2 * twice, 1)
    total, different = np.bincount(given, counts), np.bincount(given)
    common = np.bincount(made) / len(counts)
    return np.log((counts - discount + discount * different[given] * common[made]) / total[given])
