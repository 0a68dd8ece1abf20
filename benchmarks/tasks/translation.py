"""Multi30k, English and German: Translator beside what translates without a network."""

from __future__ import annotations

import gzip
import time
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from sklearn.feature_extraction.text import TfidfVectorizer

from benchmarks.tasks.harness import Benchmark, Must, Outcome
from benchmarks.tasks.joined_words import TruecasedWords
from benchmarks.tasks.phrase_translator import PhraseTranslator
from benchmarks.tasks.scoring import fitted
from benchmarks.tasks.sources import data_file
from benchmarks.tasks.translation_scores import TranslationScores, score, share_closed, signature
from benchmarks.tasks.word_alignment import WordByWord
from storyline import Translator

TEST = "test_2016_flickr"
TINY = {"train": 200, "val": 20, TEST: 20}
PHRASE_BASED, TWIN = "phrase-based", "the same model without attention"


@cache
def read(part: str, language: str) -> list[str]:
    """The lines of a file, raw."""
    with gzip.open(data_file("multi30k", f"{part}.{language}.gz"), "rt", encoding="utf-8") as file:
        return file.read().rstrip("\n").split("\n")


@cache
def corpus(source: str, target: str, tiny: bool) -> tuple[list[str], ...]:
    """Sources and targets of training, validation and test, in this order."""
    sides = [(part, language) for part in ("train", "val", TEST) for language in (source, target)]
    return tuple(read(*side)[: TINY[side[0]] if tiny else None] for side in sides)


def word_by_word(source: str, target: str, tiny: bool) -> list[str]:
    """IBM model 1's likeliest word for each word."""
    sources, targets, _, _, test, _ = corpus(source, target, tiny)
    words, made = TruecasedWords(sources), TruecasedWords(targets)
    model = WordByWord([words.tokens(text) for text in sources], [made.tokens(text) for text in targets])
    return [made.text(model.translate(words.tokens(text))) for text in test]


def nearest_neighbour(source: str, target: str, tiny: bool) -> list[str]:
    """The target of the training source that has the most words and pairs of words in common, by tf-idf."""
    sources, targets, _, _, test, _ = corpus(source, target, tiny)
    vectors = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\w+").fit(sources)
    nearest = (vectors.transform(test) @ vectors.transform(sources).T).toarray().argmax(1)
    return [targets[place] for place in nearest]


@cache
def phrase_based(source: str, target: str, tiny: bool) -> tuple[TranslationScores, float]:
    """(scores, seconds of training and tuning) of the phrase-based system."""
    sources, targets, *held_out, test, references = corpus(source, target, tiny)
    began = time.perf_counter()
    model = PhraseTranslator().fit(sources, targets, tuple(held_out), rounds=1 if tiny else 8)
    seconds = time.perf_counter() - began
    return score(model.predict(test), references), seconds


def baselines(source: str, target: str, tiny: bool) -> dict[str, float]:
    """BLEU of what needs no network."""
    references = corpus(source, target, tiny)[-1]
    return {
        "IBM-1 word by word": score(word_by_word(source, target, tiny), references).bleu,
        "nearest neighbour": score(nearest_neighbour(source, target, tiny), references).bleu,
        PHRASE_BASED: phrase_based(source, target, tiny)[0].bleu,
    }


def translate(source: str, target: str, settings: dict[str, Any], seed: int, tiny: bool) -> Outcome:
    """BLEU on the test part of a Translator whose best weights were chosen on the validation part.

    Among the details: the other scores, those of the phrase-based system, and how much of its way to the references
    the Translator goes.
    """
    sources, targets, held_sources, held_targets, test, references = corpus(source, target, tiny)
    if tiny:
        size = {"hidden_size": 16, "embedding_size": 16, "num_layers": 1, "max_vocabulary": 300}
        settings = settings | size | {"epochs": 1, "beam": 2, "batch_tokens": 500}
    model = Translator(**settings, seed=seed, threads=torch.get_num_threads())
    model, seconds, parameters = fitted(model, sources, targets, validation=(held_sources, held_targets))
    began = time.perf_counter()
    translations = model.predict(test)
    speed = len(test) / (time.perf_counter() - began)
    found = score(translations, references)
    phrases, phrase_seconds = phrase_based(source, target, tiny)
    details = found.details() | {"decoded sentences a second": speed}
    details |= {f"{PHRASE_BASED}, {name}": value for name, value in phrases.details().items()}
    details |= {f"{PHRASE_BASED}, seconds": phrase_seconds} | share_closed(found, phrases)
    return Outcome(found.bleu, seconds, parameters, details)


@cache
def twin(tiny: bool) -> Outcome:
    """English to German where the decoder sees nothing of the source but the encoder's last state."""
    return translate("en", "de", RECURRENT | {"attention": None}, 0, tiny)


def baselines_and_twin(tiny: bool) -> dict[str, float]:
    return {**baselines("en", "de", tiny), TWIN: twin(tiny).value}


def beside_twin(seed: int, tiny: bool) -> Outcome:
    """English to German with attention; the twin's other numbers are among the details."""
    outcome, other = translate("en", "de", RECURRENT, seed, tiny), twin(tiny)
    names = ("BLEU 95 % interval ±", "chrF", "TER")
    details = outcome.details | {f"without attention, {name}": other.details[name] for name in names}
    return replace(outcome, details=details | {"without attention, seconds": other.seconds})


def above_twin(least: float, margin: float) -> Must:
    """At least `least`, and `margin` above the twin."""
    return lambda baselines, details: max(least, baselines[TWIN] + margin)


# Small and regularised, so that a training fits into an hour of one core.
SHARED: dict[str, Any] = {
    "hidden_size": 192,
    "max_vocabulary": 4_000,
    "batch_tokens": 2_500,
    "dropout": 0.3,
    "average": 0.998,
}
RECURRENT = SHARED | {
    "core": "lstm",
    "attention": "additive",
    "num_layers": 2,
    "dropout": 0.35,
    "epochs": 16,
    "learning_rate": 0.003,
}
TRANSFORMER = SHARED | {
    "core": "transformer",
    "num_layers": 3,
    "feedforward_size": 512,
    "epochs": 8,
    "learning_rate": 0.002,
    "warmup": 0.1,
}
METRIC = f"test BLEU, {signature()}"

BENCHMARKS = [
    Benchmark(
        name="multi30k_en_de",
        data=("multi30k",),
        title="Multi30k, English to German",
        metric=METRIC,
        must=above_twin(30.0, 5.0),
        aim=38.0,
        higher_is_better=True,
        baselines=baselines_and_twin,
        run=beside_twin,
        model="LSTM, additive attention",
    ),
    Benchmark(
        name="multi30k_de_en",
        data=("multi30k",),
        title="Multi30k, German to English",
        metric=METRIC,
        must=34.0,
        aim=40.0,
        higher_is_better=True,
        baselines=lambda tiny: baselines("de", "en", tiny),
        run=lambda seed, tiny: translate("de", "en", RECURRENT, seed, tiny),
        model="LSTM, additive attention",
    ),
    Benchmark(
        name="multi30k_en_de_transformer",
        data=("multi30k",),
        title="Multi30k, English to German",
        metric=METRIC,
        must=None,
        aim=41.0,
        higher_is_better=True,
        baselines=lambda tiny: baselines("en", "de", tiny),
        run=lambda seed, tiny: translate("en", "de", TRANSFORMER, seed, tiny),
        model="Transformer",
    ),
]
