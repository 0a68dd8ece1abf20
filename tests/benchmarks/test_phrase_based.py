"""The phrase-based opponent of the Translator, part by part, against what its definitions say when followed naively."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise, permutations, product

import numpy as np
import pytest
import sacrebleu
from benchmarks.tasks import phrase_decoder, phrase_table, phrase_tuning, word_alignment
from benchmarks.tasks.backing_off import UNKNOWN, SentenceModel
from benchmarks.tasks.joined_words import TruecasedWords
from benchmarks.tasks.kneser_ney import KneserNey
from benchmarks.tasks.phrase_decoder import JUDGED, LANGUAGE, WORDS, Limits, PhraseDecoder
from benchmarks.tasks.phrase_table import PhraseTable
from benchmarks.tasks.phrase_translator import PhraseTranslator
from benchmarks.tasks.word_alignment import (
    FROM_NULL,
    HiddenMarkovAligner,
    Links,
    WordByWord,
    learn_translations,
    symmetrised,
)

SOURCES = [
    ["the", "house"],
    ["the", "book"],
    ["a", "book"],
    ["the", "big", "house"],
    ["a", "big", "book"],
    ["a", "house"],
]
TARGETS = [
    ["das", "Haus"],
    ["das", "Buch"],
    ["ein", "Buch"],
    ["das", "große", "Haus"],
    ["ein", "großes", "Buch"],
    ["ein", "Haus"],
]
ALIGNED = [{(place, place) for place in range(len(words))} for words in SOURCES]


@pytest.mark.parametrize(
    "text", ["Two men, one dog.", '"A T-shirt" (red) costs 3.50!', "Ein Mann's Hut…", "... and", "x", ""]
)
def test_words_become_the_text_again(text: str) -> None:
    words = TruecasedWords(["He saw men and a T-shirt.", "ein Mann"])
    joined = words.text(words.tokens(text))
    assert joined.lower() == text.lower()
    assert joined == text or not text[0].isupper()


def test_a_first_word_is_written_as_it_is_elsewhere() -> None:
    words = TruecasedWords(["A man sees a dog.", "A man sees Anna.", "Anna sees a man."])
    assert words.tokens("A man")[0] == "a"
    assert words.tokens("Anna sees")[0] == "Anna"
    assert words.tokens("Unknown")[0] == "Unknown"


def test_model_1_is_its_definition() -> None:
    """Against dictionaries and loops over Brown et al.'s eqs. 13 and 14."""
    links = Links(SOURCES, TARGETS)
    learned = learn_translations(links, 4)
    pairs = [(["", *source], target) for source, target in zip(SOURCES, TARGETS, strict=True)]
    chance = {(s, t): 1.0 for source, target in pairs for s in source for t in target}
    for _ in range(4):
        counts = dict.fromkeys(chance, 0.0)
        for source, target in pairs:
            for t in target:
                for s in source:
                    counts[s, t] += chance[s, t] / sum(chance[other, t] for other in source)
        totals: dict[str, float] = {}
        for (s, _), count in counts.items():
            totals[s] = totals.get(s, 0.0) + count
        chance = {(s, t): count / totals[s] for (s, t), count in counts.items()}
    sources, targets = list(links.sources), list(links.targets)
    assert len(learned) == len(chance)
    for row, column, found in zip(links.rows, links.columns, learned, strict=True):
        assert found == pytest.approx(chance[sources[row], targets[column]], abs=1e-12)
    assert WordByWord(SOURCES, TARGETS).translate(["the", "cat", "book"]) == ["das", "cat", "Buch"]


def test_the_posterior_of_the_hidden_markov_model_sums_over_all_paths() -> None:
    links = Links(SOURCES, TARGETS)
    aligner = HiddenMarkovAligner(links, iterations=2)
    shape = (4, 3)  # the empty word and the big house
    (indices, starts, *sizes), *_ = (group for group in aligner._groups if group[2:] == shape)
    posterior, _ = aligner._posterior(starts, *sizes)
    chance = aligner._probabilities[links.types[starts[0] : starts[0] + 12]].reshape(3, 4)

    def jump(before: int, place: int) -> float:
        moves = [aligner._jumps[to - before + word_alignment.LONGEST_JUMP] for to in (1, 2, 3)]
        return float((1 - FROM_NULL) * moves[place - 1] / sum(moves))

    expected = np.zeros((3, 4))
    for path in product(range(4), repeat=3):
        before, likelihood = 0, 1.0
        for word, place in enumerate(path):
            likelihood *= chance[word, place] * (jump(before, place) if place else FROM_NULL)
            before = place or before
        expected[range(3), path] += likelihood
    np.testing.assert_allclose(posterior[0], expected / expected.sum(1, keepdims=True), atol=1e-12)
    np.testing.assert_array_equal(aligner.alignments()[indices[0]], posterior[0].argmax(1) - 1)


def test_symmetrised() -> None:
    # Both agree on (0, 0); (1, 1) touches it and is found one way; (3, 3) touches nothing but neither word has a link.
    assert symmetrised(np.array([0, 1, -1, 3]), np.array([0, -1, -1, -1])) == {(0, 0), (1, 1), (3, 3)}
    # (2, 0) touches nothing, and its target word is linked already.
    assert symmetrised(np.array([0]), np.array([0, -1, 0])) == {(0, 0)}


def test_phrases_are_all_spans_whose_links_stay_inside() -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        source, target = random.integers(1, 8, 2)
        links = {
            (int(random.integers(source)), int(random.integers(target))) for _ in range(random.integers(1, 8))
        }
        expected = set()
        for start, first in product(range(source), range(target)):
            for end in range(start + 1, min(start + phrase_table.LONGEST, source) + 1):
                for last in range(first + 1, min(first + phrase_table.LONGEST, target) + 1):
                    inside = [(start <= a < end, first <= b < last) for a, b in links]
                    if all(a == b for a, b in inside) and (True, True) in inside:
                        expected.add((start, end, first, last))
        found = list(phrase_table._phrases(links, source, target))
        assert len(found) == len(set(found))
        assert set(found) == expected


def test_probabilities_of_phrases() -> None:
    """Against counts of the spans by hand: all alignments are diagonal."""
    met = Counter(
        (tuple(source[a:b]), tuple(target[a:b]))
        for source, target in zip(SOURCES, TARGETS, strict=True)
        for a in range(len(source))
        for b in range(a + 1, len(source) + 1)
    )
    table = PhraseTable().fit(SOURCES, TARGETS, ALIGNED)
    once, twice = (sum(count == n for count in met.values()) for n in (1, 2))
    discount = once / (once + 2 * twice)

    def chance(pair: int, phrases: tuple[tuple[str, ...], ...], count: int) -> float:
        given, made = (
            [n for others, n in met.items() if others[side] == phrases[side]] for side in (pair, 1 - pair)
        )
        return (count - discount + discount * len(given) * len(made) / len(met)) / sum(given)

    words = Counter((a, b) for pair in zip(SOURCES, TARGETS, strict=True) for a, b in zip(*pair, strict=True))
    for (source, target), count in met.items():
        found = {phrase: np.exp(values) for phrase, values, _ in table.translations(source)}[target]
        ahead = [
            words[a, b] / sum(n for (s, _), n in words.items() if s == a)
            for a, b in zip(source, target, strict=True)
        ]
        back = [
            words[a, b] / sum(n for (_, t), n in words.items() if t == b)
            for a, b in zip(source, target, strict=True)
        ]
        expected = [
            chance(0, (source, target), count),
            chance(1, (source, target), count),
            math.prod(ahead),
            math.prod(back),
        ]
        np.testing.assert_allclose(found, [*expected, math.e])
    assert table.translations(["cat"]) == []


def test_a_word_after_another_is_the_kneser_ney_model() -> None:
    model, ids = SentenceModel(TARGETS, order=3), {}
    for number, word in enumerate(sorted({word for words in TARGETS for word in words}), start=2):
        ids[word] = number
    stream = [number for words in TARGETS for number in (0, 0, *(ids[word] for word in words), 1)]
    oracle = KneserNey(3, len(ids) + 2).fit(np.array(stream))
    sentence = ["ein", "große", "Haus", "Buch"]
    expected = oracle.log_probabilities(np.array([0, 0, *(ids[word] for word in sentence), 1]))[2:]
    found, context = [], model.begin
    for word in sentence:
        value, context = model.next(context, word)
        found.append(value)
    np.testing.assert_allclose([*found, model.end(context)], expected, atol=1e-12)
    assert model.next(context, "Katze") == (UNKNOWN, ())


def exhaustive(
    table: PhraseTable, language: SentenceModel, weights: np.ndarray, tokens: list[str]
) -> dict[tuple[str, ...], float]:
    """The best score of every translation that any segmentation, order and choice gives."""
    found: dict[tuple[str, ...], float] = {}
    size = len(tokens)
    for cuts in product([False, True], repeat=size - 1):
        edges = [0, *(place + 1 for place, cut in enumerate(cuts) if cut), size]
        spans = list(pairwise(edges))
        for order in permutations(spans):
            for choice in product(*(table.translations(tokens[a:b]) for a, b in order)):
                words: tuple[str, ...] = ()
                values, start, end = np.zeros(len(JUDGED)), -1, 0
                for (a, b), (phrase, features, turns) in zip(order, choice, strict=True):
                    values[: len(features)] += features
                    values[phrase_decoder.DISTANCE] -= abs(a - end)
                    turn = 0 if a == end else 1 if b == start else 2
                    values[turn - 3] += turns[turn]
                    words, start, end = words + phrase, a, b
                context = language.begin
                for word in words:
                    value, context = language.next(context, word)
                    values[LANGUAGE] += value
                values[LANGUAGE] += language.end(context)
                values[WORDS] = len(words)
                found[words] = max(found.get(words, -math.inf), float(weights @ values))
    return found


def test_the_search_finds_what_exhaustive_search_finds() -> None:
    table, language = PhraseTable().fit(SOURCES, TARGETS, ALIGNED), SentenceModel(TARGETS, order=3)
    for seed in range(5):
        weights = np.random.default_rng(seed).uniform(0.05, 0.5, len(JUDGED))
        decoder = PhraseDecoder(
            table, language, weights, Limits(stack=10_000, translations=20, fall=math.inf)
        )
        for tokens in (["the", "big", "book"], ["a", "big", "house", "the"]):
            expected = exhaustive(table, language, weights, tokens)
            listed = list(decoder.best(tokens, 100_000))
            found: dict[tuple[str, ...], float] = {}
            for words, values in listed:
                found.setdefault(tuple(words), float(weights @ values))
            assert max(found.values()) == pytest.approx(max(expected.values()), abs=1e-9)
            assert found == pytest.approx(expected, abs=1e-9)
            scores = [float(weights @ values) for _, values in listed]
            assert scores == pytest.approx(sorted(scores, reverse=True))
    assert decoder.translate([]) == []
    assert decoder.translate(["cat"]) == ["cat"]  # copied


def test_bleu_of_statistics_is_sacrebleus() -> None:
    made = ["a b c d e f", "a c b d", "g g a b c d"]
    right = ["a b c d x f", "a b c d", "g a b c d e e e"]
    totals = sum(phrase_tuning.statistics(a.split(), b.split()) for a, b in zip(made, right, strict=True))
    expected = sacrebleu.corpus_bleu(made, [right], tokenize="none", smooth_method="none").score
    assert 100 * phrase_tuning.bleu(totals) == pytest.approx(expected)
    assert phrase_tuning.bleu(phrase_tuning.statistics(["a"], ["b"])) == 0.0


def test_tuning_finds_the_weight_that_matters() -> None:
    """The references have the order of the sources: weights that pay for jumping backwards have to go."""
    table, language = PhraseTable().fit(SOURCES, TARGETS, ALIGNED), SentenceModel(TARGETS, order=2)
    wrong = np.full(len(JUDGED), 0.1)
    wrong[phrase_decoder.DISTANCE] = -0.2
    sources = [["a", "big", "book", "the", "house"], ["the", "book", "a", "big", "house"]]
    references = [["ein", "großes", "Buch", "das", "Haus"], ["das", "Buch", "ein", "große", "Haus"]]

    def reached(weights: np.ndarray) -> float:
        made = [PhraseDecoder(table, language, weights).translate(words) for words in sources]
        return phrase_tuning.bleu(sum(map(phrase_tuning.statistics, made, references)))

    tuned = phrase_tuning.tune(
        lambda weights: PhraseDecoder(table, language, weights),
        sources,
        references,
        wrong,
        rounds=3,
        best=500,
    )
    assert reached(wrong) < 0.5 < reached(tuned)
    assert np.abs(tuned).sum() == pytest.approx(1)


def test_from_text_to_text() -> None:
    sources = [" ".join(words).capitalize() + "." for words in SOURCES] * 3
    targets = [" ".join(words) for words in TARGETS] * 3
    targets = [text[0].upper() + text[1:] + "." for text in targets]
    model = PhraseTranslator().fit(sources, targets, (sources, targets), rounds=1)
    assert model.predict(["A big book.", ""]) == ["Ein großes Buch.", ""]
