"""The best translation of a sentence, phrase by phrase, by beam search over what is covered.

Sources: P. Koehn (2004), "Pharaoh: a beam search decoder for phrase-based statistical machine translation models",
AMTA (stacks, recombination, future costs); P. Koehn (2010), "Statistical machine translation", chapter 6.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

import numpy as np

from benchmarks.tasks.backing_off import Context, SentenceModel
from benchmarks.tasks.phrase_table import FEATURES, ORIENTATIONS, Phrase, PhraseTable

# What a translation is judged by; a weight each.
JUDGED = (*FEATURES, "words", "language model", "distance", *ORIENTATIONS)
WORDS, LANGUAGE, DISTANCE = (JUDGED.index(name) for name in ("words", "language model", "distance"))
UNTRANSLATED = -5.0  # every feature of a word that is copied because the table does not have it


@dataclass(frozen=True)
class Limits:
    """How much is tried: hypotheses a stack, translations a phrase, words jumped, and the fall from a stack's best."""

    stack: int = 50
    translations: int = 12
    jump: int = 5
    fall: float = 8.0  # in units of the language model's weight


class Option(NamedTuple):
    """A translation of source[start:end]: its own features, and their weighted sums."""

    start: int
    end: int
    words: Phrase
    features: np.ndarray
    orientations: np.ndarray
    own: float
    turns: tuple[float, ...]
    expected: float


class Hypothesis:
    """A beginning of a translation. `others`: worse ways to the same place, for the n best."""

    __slots__ = ("before", "context", "covered", "end", "language", "option", "others", "score", "start")

    def __init__(
        self,
        score: float,
        covered: int,
        context: Context,
        option: Option | None,
        before: Hypothesis | None,
        language: float,
    ) -> None:
        self.score, self.covered, self.context = score, covered, context
        self.option, self.before, self.language = option, before, language
        self.start, self.end = (option.start, option.end) if option else (-1, 0)
        self.others: list[tuple[float, Hypothesis, Option, float]] = []


class _Suffix(NamedTuple):
    """The end of a translation: what follows `option`, which follows the hypothesis `before`."""

    fallen: float  # minus the score of the whole
    number: int
    before: Hypothesis
    option: Option | None
    language: float  # what the language model makes of the option
    words: tuple[str, ...]
    values: np.ndarray  # of JUDGED, of `words`


class PhraseDecoder:
    """Translations by a phrase table, a model of target sentences and weights in the order of JUDGED."""

    def __init__(
        self, table: PhraseTable, language: SentenceModel, weights: np.ndarray, limits: Limits | None = None
    ) -> None:
        self._table, self._language = table, language
        self._weights, self._limits = weights, limits or Limits()

    def translate(self, tokens: Sequence[str]) -> list[str]:
        """The best translation that the search finds; of no tokens, none."""
        return next(self.best(tokens, 1))[0] if tokens else []

    def best(self, tokens: Sequence[str], number: int) -> Iterator[tuple[list[str], np.ndarray]]:
        """Up to `number` translations with the values of JUDGED, the best first."""
        order = count()  # decides between equals, so that hypotheses are never compared
        heap: list[_Suffix] = []
        for last in self._search(tokens):
            values = np.zeros(len(JUDGED))
            values[LANGUAGE] = last.language
            assert last.before is not None
            heapq.heappush(heap, _Suffix(-last.score, next(order), last.before, None, 0.0, (), values))
        while heap and number:
            fallen, _, here, option, language, words, values = heapq.heappop(heap)
            if option is not None:
                words, values = option.words + words, values + _values(here, option, language)
            if here.before is None:
                number -= 1
                yield list(words), values
                continue
            for score, before, chosen, spoken in [
                (here.score, here.before, here.option, here.language),
                *here.others,
            ]:
                lost = fallen + here.score - score
                heapq.heappush(heap, _Suffix(lost, next(order), before, chosen, spoken, words, values))

    def _search(self, tokens: Sequence[str]) -> list[Hypothesis]:
        """Complete hypotheses, with the end of the sentence in their scores."""
        weight, limits = float(self._weights[LANGUAGE]), self._limits
        spans = self._options(tokens)
        ahead = _Ahead(spans, len(tokens))
        spoken: dict[tuple[Context, Phrase], tuple[float, Context]] = {}
        stacks: list[dict[tuple[int, int, int, Context], Hypothesis]] = [{} for _ in range(len(tokens) + 1)]
        first = Hypothesis(0.0, 0, self._language.begin, None, None, 0.0)
        stacks[0][0, -1, 0, first.context] = first
        best = [-np.inf] * (len(tokens) + 1)
        for size in range(len(tokens)):
            ranked = heapq.nlargest(
                limits.stack, stacks[size].values(), key=lambda one: one.score + ahead.of(one.covered)
            )
            least = best[size] - limits.fall * weight
            for here in ranked:
                if here.score + ahead.of(here.covered) < least:
                    break
                self._extend(here, spans, ahead, spoken, stacks, best)
        complete = []
        for here in stacks[-1].values():
            ended = self._language.end(here.context)
            complete.append(Hypothesis(here.score + weight * ended, here.covered, (), None, here, ended))
        return complete

    def _extend(
        self,
        here: Hypothesis,
        spans: dict[tuple[int, int], list[Option]],
        ahead: _Ahead,
        spoken: dict[tuple[Context, Phrase], tuple[float, Context]],
        stacks: list[dict[tuple[int, int, int, Context], Hypothesis]],
        best: list[float],
    ) -> None:
        weight, jump = float(self._weights[LANGUAGE]), float(self._weights[DISTANCE])
        fall = self._limits.fall * weight
        for (start, end), options in spans.items():
            mask = ((1 << end - start) - 1) << start
            if here.covered & mask or not self._reachable(here, start, end):
                continue
            covered = here.covered | mask
            size = covered.bit_count()
            turn = 0 if start == here.end else 1 if end == here.start else 2
            base = here.score - jump * abs(start - here.end)
            future = ahead.of(covered)
            stack = stacks[size]
            for option in options:
                rough = base + option.expected + option.turns[turn] + future
                if rough < best[size] - fall:
                    break  # those behind are expected to be worse still
                key = here.context, option.words
                if key not in spoken:
                    spoken[key] = self._speak(here.context, option.words)
                language, context = spoken[key]
                score = base + option.own + option.turns[turn] + weight * language
                if score + future < best[size] - fall:
                    continue
                best[size] = max(best[size], score + future)
                place = covered, start, end, context
                found = stack.get(place)
                if found is None:
                    stack[place] = Hypothesis(score, covered, context, option, here, language)
                elif score <= found.score:
                    found.others.append((score, here, option, language))
                else:
                    better = Hypothesis(score, covered, context, option, here, language)
                    better.others = [*found.others, (found.score, found.before, found.option, found.language)]
                    stack[place] = better

    def _reachable(self, here: Hypothesis, start: int, end: int) -> bool:
        """Whether a jump to there is allowed, and one back to the first word left out still will be."""
        limit = self._limits.jump
        if abs(start - here.end) > limit:
            return False
        gap = (~here.covered & (here.covered + 1)).bit_length() - 1
        return start == gap or end - gap <= limit

    def _speak(self, context: Context, words: Phrase) -> tuple[float, Context]:
        total = 0.0
        for word in words:
            part, context = self._language.next(context, word)
            total += part
        return total, context

    def _options(self, tokens: Sequence[str]) -> dict[tuple[int, int], list[Option]]:
        """The best translations of every phrase of the sentence; a word without any stands for itself."""
        spans = {}
        own = np.append(self._weights[: len(FEATURES)], self._weights[WORDS])
        turned = self._weights[-len(ORIENTATIONS) :]
        for start in range(len(tokens)):
            for end in range(start + 1, len(tokens) + 1):
                found = self._table.translations(tokens[start:end])
                if not found and end == start + 1:
                    features = np.full(len(FEATURES), UNTRANSLATED)
                    found = [((tokens[start],), features, np.log(np.full(len(ORIENTATIONS), 1 / 3)))]
                options = []
                for words, features, orientations in found:
                    value = float(own @ np.append(features, len(words)))
                    turns = tuple((turned * orientations).tolist())
                    spoken = self._speak((), words)[0]  # of no context: a guess, to rank by
                    expected = value + float(self._weights[LANGUAGE]) * spoken
                    options.append(Option(start, end, words, features, orientations, value, turns, expected))
                if options:
                    options.sort(key=lambda option: -option.expected)
                    spans[start, end] = options[: self._limits.translations]
        return spans


class _Ahead:
    """The least that what is not yet covered will cost: the best options by themselves, in order."""

    def __init__(self, spans: dict[tuple[int, int], list[Option]], words: int) -> None:
        self._words = words
        self._best = {span: options[0].expected for span, options in spans.items()}
        for length in range(2, words + 1):
            for start in range(words - length + 1):
                end = start + length
                parts = [
                    self._best[start, middle] + self._best[middle, end] for middle in range(start + 1, end)
                ]
                self._best[start, end] = max(*parts, self._best.get((start, end), -np.inf))
        self._known: dict[int, float] = {}

    def of(self, covered: int) -> float:
        if covered not in self._known:
            total, start = 0.0, None
            for place in range(self._words + 1):
                free = place < self._words and not covered >> place & 1
                if free and start is None:
                    start = place
                elif not free and start is not None:
                    total += self._best[start, place]
                    start = None
            self._known[covered] = total
        return self._known[covered]


def _values(before: Hypothesis, option: Option, language: float) -> np.ndarray:
    """What JUDGED gains when an option follows a hypothesis."""
    values = np.zeros(len(JUDGED))
    values[: len(FEATURES)] = option.features
    values[WORDS], values[LANGUAGE] = len(option.words), language
    values[DISTANCE] = -abs(option.start - before.end)
    turn = 0 if option.start == before.end else 1 if option.end == before.start else 2
    values[len(JUDGED) - len(ORIENTATIONS) + turn] = option.orientations[turn]
    return values
