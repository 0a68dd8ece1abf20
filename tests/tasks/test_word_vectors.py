"""WordVectors: what they learn, what they answer, and the models that start from them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import cosine_similarity

from storyline.tasks import Classifier, LanguageModel, Summarizer, Tagger, Translator, WordVectors, load
from storyline.training import TrainingError

gensim = pytest.mark.skipif(
    subprocess.run([sys.executable, "-c", "import gensim"], check=False, capture_output=True).returncode != 0,
    reason="gensim, an extra, is not installed",
)
DRAWN: dict[str, Any] = {"embedding_size": 16, "window": 2, "min_count": 1, "subsample": 0.0, "epochs": 30}


def pets_and_cars(n: int = 300) -> list[str]:
    """Sentences in which two groups of words have each their own neighbours."""
    generator = np.random.default_rng(0)
    groups = (
        (["cat", "dog", "cow"], ["eats", "sleeps", "purrs"]),
        (["car", "bus", "van"], ["drives", "brakes", "honks"]),
    )
    sentences = []
    for _ in range(n):
        nouns, verbs = groups[generator.integers(2)]
        sentences.append(" ".join([*generator.choice(nouns, 2), *generator.choice(verbs, 2)]))
    return sentences


@gensim
@pytest.mark.parametrize("algorithm", ["skip-gram", "cbow"])
def test_words_of_one_group_are_nearest(algorithm: Any) -> None:
    vectors = WordVectors(algorithm=algorithm, **DRAWN).fit(pets_and_cars())
    pets = {"cat", "dog", "cow", "eats", "sleeps", "purrs"}
    for word in pets:
        assert {near for near, _ in vectors.nearest(word, 5)} == pets - {word}
    counts = {word: " ".join(pets_and_cars()).split().count(word) for word in vectors.words_}
    assert vectors.counts_.tolist() == sorted(counts.values(), reverse=True)
    assert [counts[word] for word in vectors.words_] == vectors.counts_.tolist()


@gensim
def test_one_thread_and_one_seed_give_the_same_bits(tmp_path: Path) -> None:
    texts = pets_and_cars(60)
    first, again = (WordVectors(**DRAWN).fit(texts) for _ in range(2))
    np.testing.assert_array_equal(first.vectors_, again.vectors_)
    assert not np.array_equal(first.vectors_, WordVectors(seed=1, **DRAWN).fit(texts).vectors_)
    # A file is one text.
    path = tmp_path / "pets.txt"
    path.write_text("\n".join(texts), encoding="utf-8")
    with pytest.raises(ValueError, match="would be read as a text, and is a file; give Path"):
        WordVectors().fit(str(path))
    of_file, of_text = (WordVectors(**DRAWN).fit(X) for X in (path, "\n".join(texts)))
    np.testing.assert_array_equal(of_file.vectors_, of_text.vectors_)


@gensim
def test_nothing_of_a_long_text_is_left_out() -> None:
    # gensim itself reads 10,000 words of a sentence.
    vectors = WordVectors(**DRAWN | {"epochs": 1, "min_count": 2}).fit("a b " * 5_000 + "new old " * 20)
    assert vectors.counts_.tolist() == [5_000, 5_000, 20, 20]
    start = WordVectors.of(vectors.words_, np.full((4, 16), 0.1))
    moved = WordVectors(**DRAWN | {"epochs": 1, "min_count": 2}).fit(
        "a b " * 5_000 + "new old " * 20, start=start
    )
    # Also what stands behind the first 10,000 is learned from.
    assert np.abs(moved["new"] - start["new"]).max() > 0


@gensim
def test_fit_begins_where_start_stands() -> None:
    known = WordVectors.of(["cat", "dog", "wyvern"], np.arange(48).reshape(3, 16))
    slow = WordVectors(learning_rate=1e-30, **DRAWN | {"epochs": 1}).fit(pets_and_cars(20), start=known)
    np.testing.assert_allclose(slow["dog"], known["dog"], rtol=1e-6)
    assert "wyvern" not in slow
    with pytest.raises(ValueError, match="start has vectors of 16 numbers, and embedding_size is 8"):
        WordVectors(embedding_size=8).fit(pets_and_cars(20), start=known)


@gensim
@pytest.mark.parametrize(
    ("settings", "X", "message"),
    [
        ({}, ["a b", "c"], "3 different words, 0 of which come at least 5 times"),
        ({}, [], "0 different words"),
        ({}, ["a", 3], r"X\[1\] is int; give texts, or the Path"),
        ({"algorithm": "skipgram"}, ["a"], "algorithm='skipgram'; it must be 'skip-gram' or 'cbow'"),
        ({"window": 0}, ["a"], "window=0"),
    ],
)
def test_what_cannot_be_learned_is_refused(settings: Any, X: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WordVectors(**settings).fit(X)


def test_without_gensim_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gensim", None)
    monkeypatch.setitem(sys.modules, "gensim.models", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'storyline\[vectors\]'"):
        WordVectors().fit(["a b"])


def drawn_vectors(words: str = "and the road goes on past a house right left", size: int = 6) -> WordVectors:
    names = words.split()
    return WordVectors.of(names, np.random.default_rng(1).normal(size=(len(names), size)))


def test_nearest_and_analogy_by_the_formula() -> None:
    vectors = drawn_vectors()
    words = list(vectors.words_)
    cosines = cosine_similarity(vectors.vectors_)
    row = words.index("road")
    wanted = sorted(
        (word for word in words if word != "road"), key=lambda word: -cosines[row, words.index(word)]
    )
    found = vectors.nearest("road", 20)
    assert [word for word, _ in found] == wanted
    np.testing.assert_allclose(
        [value for _, value in found], np.sort(np.delete(cosines[row], row))[::-1], rtol=1e-5
    )
    unit = vectors.vectors_ / np.linalg.norm(vectors.vectors_, axis=1, keepdims=True)
    a, b, c = (words.index(word) for word in ("on", "past", "left"))
    scores = cosine_similarity((unit[b] - unit[a] + unit[c])[None], unit)[0]
    best = [words[row] for row in np.argsort(-scores) if row not in (a, b, c)][:3]
    assert [word for word, _ in vectors.analogy("on", "past", "left", 3)] == best


def test_an_unknown_word_is_refused_with_its_nearest_spellings() -> None:
    vectors = drawn_vectors()
    assert "Hause" not in vectors
    with pytest.raises(
        ValueError, match=r"'Hause' is none of the 10 words that have a vector; near it are 'house'"
    ):
        _ = vectors["Hause"]
    with pytest.raises(ValueError, match="k is 0"):
        vectors.nearest("road", 0)


def test_saved_and_loaded_is_the_same(tmp_path: Path) -> None:
    vectors = drawn_vectors()
    for name in ("vectors.txt", "vectors.txt.gz"):
        vectors.save(tmp_path / name)
        loaded = WordVectors.load(tmp_path / name)
        assert loaded.words_ == vectors.words_
        np.testing.assert_array_equal(loaded.vectors_, vectors.vectors_)
        assert loaded.nearest("road") == vectors.nearest("road")
        assert loaded.embedding_size == 6


@pytest.mark.parametrize(
    ("words", "array", "message"),
    [
        (["a", "b"], np.zeros((3, 2)), "2 words and vectors of shape"),
        (["a", "a"], np.zeros((2, 2)), "a word comes twice"),
        (["a"], [[np.nan]], "NaN"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(words: Any, array: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WordVectors.of(words, array)


TEXTS = ["right the road goes on", "left a wyvern past the house"] * 8
TAGGED = [text.split() for text in TEXTS]
# Each with its X and y, where its words are, and that of the embedding's rows "wyvern" has no given vector.
MODELS: dict[str, Any] = {
    "classify": (Classifier, (TEXTS, ["r", "l"] * 8), lambda model: model.reader_.encoder.vocabulary),
    "tag": (Tagger, (TAGGED, TAGGED), lambda model: model.words_),
    "language": (LanguageModel, ([" ".join(TEXTS * 20)],), lambda model: model.encoder_.vocabulary),
}
SMALL = {"hidden_size": 8, "epochs": 2, "threads": 1, "validation_fraction": 0.0, "learning_rate": 0.05}


def small(kind: str, **settings: Any) -> Any:
    own = {"level": "word", "tied": True, "steps": 16, "batch_size": 4} if kind == "language" else {}
    return MODELS[kind][0](**SMALL | own | settings)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("freeze", [False, True])
def test_a_model_starts_from_them_tuned_or_frozen(kind: str, freeze: bool, tmp_path: Path) -> None:
    _, examples, words_of = MODELS[kind]
    vectors = drawn_vectors()
    model = small(kind, freeze_vectors=freeze).fit(*examples, vectors=vectors)
    index, embedding = words_of(model).index, model.network_.embedding.embedding.weight
    assert embedding.shape[1] == 6
    moved = np.array(
        [np.abs(embedding[index[word]].detach().numpy() - vectors[word]).max() for word in ("road", "house")]
    )
    assert (moved == 0).all() if freeze else (moved > 0).all()
    # All that the model reads but "wyvern" is known.
    assert model.training_summary_["given_vectors"] == (10 if kind != "language" else 9)
    assert model.training_summary_["given_vectors_share"] == pytest.approx(10 / 11, abs=0.01)
    model.save_pretrained(tmp_path)
    loaded = load(tmp_path)
    for name, value in model.network_.state_dict().items():
        assert torch.equal(loaded.network_.state_dict()[name], value), name


def test_other_words_are_learned_beside_frozen_ones() -> None:
    model = small("classify", freeze_vectors=True, word_dropout=0.0)
    model.fit(TEXTS, ["r", "l"] * 8, vectors=drawn_vectors())
    slow = small("classify", freeze_vectors=True, word_dropout=0.0, learning_rate=1e-9)
    slow.fit(TEXTS, ["r", "l"] * 8, vectors=drawn_vectors())
    row = model.reader_.encoder.vocabulary.index["wyvern"]
    weights = (each.network_.embedding.weight[row] for each in (model, slow))
    assert not torch.allclose(*weights, atol=1e-4)


def test_words_that_the_texts_lack_join_the_vocabulary() -> None:
    vectors = drawn_vectors("the road dragon unicorn")
    model = small("classify").fit(TEXTS, ["r", "l"] * 8, vectors=vectors)
    model.predict(["dragon unicorn gryphon"])
    assert model.unknown_ == (1, 3)
    limited = small("classify", max_vocabulary=13).fit(TEXTS, ["r", "l"] * 8, vectors=vectors)
    limited.predict(["dragon unicorn gryphon"])
    assert limited.unknown_ == (2, 3)


def test_subwords_that_are_words_start_from_them() -> None:
    vectors = drawn_vectors()
    model = small("classify", level="subword", learning_rate=1e-12).fit(
        TEXTS, ["r", "l"] * 8, vectors=vectors
    )
    row = model.reader_.encoder.names().index(" road")
    np.testing.assert_allclose(model.network_.embedding.weight[row].detach(), vectors["road"], rtol=1e-6)


def test_frozen_vectors_may_be_tuned_by_a_warm_start(tmp_path: Path) -> None:
    labels, vectors = ["r", "l"] * 8, drawn_vectors()
    small("classify", freeze_vectors=True, warm_start=True).fit(
        TEXTS, labels, vectors=vectors
    ).save_pretrained(tmp_path)
    for freeze in (True, False):
        model = load(tmp_path).set_params(freeze_vectors=freeze).fit(TEXTS, labels)
        row = model.network_.embedding.weight[model.reader_.encoder.vocabulary.index["road"]].detach().numpy()
        assert (row == vectors["road"]).all() == freeze
    with pytest.raises(ValueError, match="word vectors were given to a warm start"):
        load(tmp_path).fit(TEXTS, labels, vectors=vectors)


def test_other_vectors_are_refused_when_resumed(tmp_path: Path) -> None:
    labels = ["r", "l"] * 8
    small("classify").fit(TEXTS, labels, vectors=drawn_vectors(), folder=tmp_path)
    other = drawn_vectors("road the and goes on past a house right left")
    with pytest.raises(TrainingError, match=r"other data \(vectors\)"):
        small("classify").fit(TEXTS, labels, vectors=other, folder=tmp_path, resume=True)
    small("classify").fit(TEXTS, labels, vectors=drawn_vectors(), folder=tmp_path, resume=True)


@pytest.mark.parametrize(
    ("kind", "settings", "vectors", "message"),
    [
        (
            "classify",
            {"freeze_vectors": True},
            None,
            "freeze_vectors=True keeps the vectors that fit is given",
        ),
        ("tag", {"freeze_vectors": True}, None, "freeze_vectors=True keeps the vectors that fit is given"),
        (
            "language",
            {"freeze_vectors": True},
            None,
            "freeze_vectors=True keeps the vectors that fit is given",
        ),
        (
            "tag",
            {"embedding_size": 5},
            drawn_vectors(),
            "have 6 numbers, and embedding_size is 5; set embedding_size=6",
        ),
        ("classify", {"level": "char"}, drawn_vectors(), "level is 'char'"),
        (
            "classify",
            {},
            "glove.txt",
            r"vectors is of the type str; give WordVectors, of a file WordVectors.load",
        ),
        (
            "classify",
            {},
            drawn_vectors("THE ROAD"),
            r"none of the 10 tokens of the training text \('the', .*same case",
        ),
        (
            "language",
            {"word_vectors": True},
            drawn_vectors(),
            "word_vectors=True learns vectors from the text",
        ),
    ],
)
def test_vectors_that_do_not_fit_are_refused(kind: str, settings: Any, vectors: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(kind, **settings).fit(*MODELS[kind][1], vectors=vectors)


def test_series_and_unlabelled_texts_go_without() -> None:
    with pytest.raises(ValueError, match="word vectors were given and X holds series"):
        small("classify").fit([np.zeros((3, 1))] * 4, [0, 1] * 2, vectors=drawn_vectors())
    with pytest.raises(ValueError, match="unlabelled texts teach word vectors, and vectors were given"):
        small("classify").fit(TEXTS, ["r", "l"] * 8, vectors=drawn_vectors(), unlabelled=TEXTS)


PAIRS = ["the road goes on", "a house and the road"] * 20, ["right left", "left right past"] * 20
QUICK_PAIRS: dict[str, Any] = {
    "hidden_size": 16,
    "epochs": 2,
    "threads": 1,
    "validation_fraction": 0.0,
    "level": "word",
    "learning_rate": 0.05,
    "batch_tokens": 100,
}


@pytest.mark.parametrize("freeze", [False, True])
def test_a_translator_starts_from_them_on_either_side(freeze: bool, tmp_path: Path) -> None:
    vectors, other = drawn_vectors(), drawn_vectors("left right up down")
    model = Translator(**QUICK_PAIRS, freeze_vectors=freeze)
    model.fit(*PAIRS, vectors=vectors, target_vectors=other)
    assert (model.training_summary_["given_vectors"], model.training_summary_["target_given_vectors"]) == (
        7,
        2,
    )
    for given, embedding, encoder, words in (
        (
            vectors,
            model.network_.source,
            model.encoder_.source,
            ["the", "road", "goes", "on", "a", "house", "and"],
        ),
        (other, model.network_.target, model.encoder_.target, ["left", "right"]),
    ):
        wanted = np.stack([given[word] for word in words])
        rows = [encoder.vocabulary.index[word] for word in words]
        found = embedding.weight[rows].detach().numpy() * wanted.std() * 6**0.5
        assert np.allclose(found, wanted, rtol=1e-5) == freeze
    model.save_pretrained(tmp_path)
    assert load(tmp_path).predict_best(PAIRS[0][:2]) == model.predict_best(PAIRS[0][:2])


def test_a_shared_vocabulary_starts_from_one_set() -> None:
    model = Summarizer(**QUICK_PAIRS | {"level": "subword", "learning_rate": 1e-12})
    model.fit(*PAIRS, vectors=drawn_vectors())
    row = model.encoder_.source.names().index(" road")
    given = model.network_.target.weight[row].detach().numpy()
    np.testing.assert_allclose(given / np.linalg.norm(given), unit_of("road"), rtol=1e-5)
    assert model.network_.source is model.network_.target
    with pytest.raises(ValueError, match="one embedding, and target_vectors were given; give vectors alone"):
        Summarizer(**QUICK_PAIRS | {"level": "subword"}).fit(*PAIRS, target_vectors=drawn_vectors())
    with pytest.raises(ValueError, match="have 5 numbers, and embedding_size is 6"):
        Translator(**QUICK_PAIRS).fit(*PAIRS, vectors=drawn_vectors(), target_vectors=drawn_vectors(size=5))
    with pytest.raises(ValueError, match="freeze_vectors=True keeps"):
        Translator(**QUICK_PAIRS, freeze_vectors=True).fit(*PAIRS)


def unit_of(word: str) -> np.ndarray:
    vector = drawn_vectors()[word]
    return vector / np.linalg.norm(vector)
