"""Classifier on texts: it learns what needs memory, refuses what it cannot use, and owes nobody surprises."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from learnable import QUICK, first_word_decides
from sklearn.base import clone

from storyline import artifact
from storyline.tasks import Classifier, LanguageModel, load

QUICK_TEXT = QUICK | {
    "epochs": 12,
    "batch_size": 16,
    "learning_rate": 0.02,
    "pooling": "last",
    "bidirectional": False,
}


@pytest.fixture(scope="module")
def trained() -> Classifier:
    return Classifier(**QUICK_TEXT).fit(*first_word_decides(240))


@pytest.mark.parametrize(
    "settings", [{"core": "lstm"}, {"core": "gru"}, {"core": "rnn", "remember": 12, "learning_rate": 0.01}]
)
def test_remembers_the_first_word(settings: dict) -> None:
    model = Classifier(**QUICK_TEXT | settings).fit(*first_word_decides(240))
    result = model.evaluate(*first_word_decides(200, seed=1))
    # A model that reads the last word, or counts words, stays near one half.
    assert result["accuracy"] > 0.9, result
    assert result["n"] == 200
    assert result["unknown"] == 0


def test_predictions_do_not_depend_on_the_others(trained: Classifier) -> None:
    texts, _ = first_word_decides(60, seed=2)
    together = trained.predict_proba(texts)
    order = np.random.default_rng(0).permutation(len(texts))
    np.testing.assert_allclose(
        trained.predict_proba([texts[row] for row in order]), together[order], atol=1e-6
    )
    alone = np.concatenate([trained.predict_proba([text]) for text in texts])
    np.testing.assert_allclose(alone, together, atol=1e-6)
    np.testing.assert_allclose(together.sum(axis=1), 1)


def test_saved_and_loaded_is_the_same(trained: Classifier, tmp_path) -> None:
    texts, labels = first_word_decides(60, seed=2)
    trained.save_pretrained(tmp_path / "model", documents={"run.json": "{}"})
    loaded = load(tmp_path / "model")
    assert isinstance(loaded, Classifier)
    assert (loaded.predict_proba(texts) == trained.predict_proba(texts)).all()
    assert loaded.evaluate(texts, labels) == trained.evaluate(texts, labels)
    assert loaded.get_params() == trained.get_params()
    assert loaded.training_summary_ == trained.training_summary_
    assert loaded.classes_.tolist() == ["left", "right"]
    assert artifact.load(tmp_path / "model").text("run.json") == "{}"
    with pytest.raises(ValueError, match=r"task 'classify'.*storyline.load"):
        LanguageModel.from_pretrained(tmp_path / "model")


def test_one_seed_gives_one_model_and_leaves_no_trace() -> None:
    examples = first_word_decides(80)
    settings = QUICK_TEXT | {"epochs": 2}
    torch.manual_seed(7)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    first = Classifier(**settings).fit(*examples)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    torch.manual_seed(8)
    second, other = (Classifier(**settings | {"seed": seed}).fit(*examples) for seed in (0, 1))
    same, different = ([first, each] for each in (second, other))
    assert all(
        torch.equal(*pair)
        for pair in zip(*(each.network_.state_dict().values() for each in same), strict=True)
    )
    assert not torch.equal(*(each.network_.head.linear.weight for each in different))


def test_the_initial_network_is_rebuilt_bit_for_bit(tmp_path) -> None:
    examples = first_word_decides(80)
    seen = {}

    class Watched(Classifier):
        def _program(self, network, *rest):
            seen.update({name: value.clone() for name, value in network.state_dict().items()})
            return super()._program(network, *rest)

    model = Watched(**QUICK_TEXT | {"epochs": 1}).fit(*examples)
    model.save_pretrained(tmp_path)
    rebuilt = Classifier.from_pretrained(tmp_path).initial_network().state_dict()
    assert rebuilt.keys() == seen.keys()
    assert all(torch.equal(rebuilt[name], seen[name]) for name in seen)
    assert not torch.equal(rebuilt["head.linear.weight"], model.network_.head.linear.weight)


def test_stopped_and_resumed_is_the_same(tmp_path) -> None:
    examples = first_word_decides(80)
    settings = QUICK_TEXT | {"epochs": 3, "validation_fraction": 0.2, "checkpoint_every": 4}
    whole = Classifier(**settings).fit(*examples)

    class StopError(Exception):
        pass

    def stop(event: object) -> None:
        if getattr(event, "step", 0) >= 7:
            raise StopError

    with pytest.raises(StopError):
        Classifier(**settings).fit(*examples, folder=tmp_path, events=[stop])
    resumed = Classifier(**settings).fit(*examples, folder=tmp_path, resume=True)
    for name, value in whole.network_.state_dict().items():
        assert torch.equal(value, resumed.network_.state_dict()[name]), name


@pytest.mark.parametrize("seed", [2**40, 2**63 - 1])
def test_any_seed_in_bounds_serves(seed: int) -> None:
    texts, labels = first_word_decides(40)
    settings = QUICK_TEXT | {"epochs": 1, "embedding_size": 4, "validation_fraction": 0.1}
    for level in ("word", "subword"):
        unlabelled = texts if level == "word" else None
        model = Classifier(**settings, seed=seed, level=level).fit(texts, labels, unlabelled=unlabelled)
        assert model.predict(texts).shape == (40,)


@pytest.mark.parametrize("seed", [-1, 2**63, 2**64])
def test_a_seed_out_of_bounds_is_refused(seed: int) -> None:
    with pytest.raises(ValueError, match=f"seed={seed}; it must be (greater|less) than"):
        Classifier(seed=seed).fit(["a", "b"], ["x", "y"])


def test_unknown_words_are_counted(trained: Classifier) -> None:
    texts, labels = ["right the road", "left dragons wyverns road"], ["right", "left"]
    assert trained.evaluate(texts, labels)["unknown"] == 2
    trained.predict(texts)
    assert trained.unknown_ == (2, 7)


def test_the_vocabulary_is_that_of_the_training_part() -> None:
    texts, labels = first_word_decides(60)
    model = Classifier(**QUICK_TEXT | {"epochs": 1}).fit(
        texts, labels, validation=(["right wyvern"], ["right"])
    )
    assert model.unknown_ == (1, 2)
    assert model.training_summary_["unknown_share"] == 0.5
    assert set(model.training_summary_["best"]) == {"loss", "accuracy"}


def test_word_vectors_from_unlabelled_texts_start_the_embedding() -> None:
    texts, labels = first_word_decides(60)
    unlabelled = ["the rightmost road goes on and on past a wyvern"] * 12
    settings = QUICK_TEXT | {"epochs": 1, "embedding_size": 4, "learning_rate": 1e-9}
    model = Classifier(**settings).fit(texts, labels, unlabelled=unlabelled)
    # Frequent words of the unlabelled texts are known, with vectors that differ from noise.
    assert model.evaluate(["wyvern road"], ["left"])["unknown"] == 0
    start = model.initial_network().embedding.weight
    assert (model.network_.embedding.weight - start).abs().mean() > 0.1
    with pytest.raises(ValueError, match=r"^embedding_size is 128; \d+ words with neighbours allow"):
        Classifier(**settings | {"embedding_size": 128}).fit(texts, labels, unlabelled=unlabelled)
    with pytest.raises(ValueError, match="unlabelled is one string; give a list of texts"):
        Classifier(**settings).fit(texts, labels, unlabelled="a road")
    with pytest.raises(ValueError, match=r"unlabelled\[1\] holds '\\ud800'"):
        Classifier(**settings).fit(texts, labels, unlabelled=["a road", "\ud800"])
    with pytest.raises(ValueError, match="level='word'"):
        Classifier(**settings, level="char").fit(texts, labels, unlabelled=unlabelled)


@pytest.mark.parametrize("level", ["char", "subword"])
def test_other_levels_learn(level: str) -> None:
    texts = ["abcab", "bcabc", "cabca", "xyzxy", "yzxyz", "zxyzx"] * 10
    labels = [text[0] < "m" for text in texts]
    model = Classifier(**QUICK_TEXT, level=level).fit(texts, labels)
    assert model.score(texts, labels) == 1
    assert model.predict(["abc"]).dtype == bool


def test_auto_becomes_what_the_docstring_says() -> None:
    texts, labels = first_word_decides(60)
    model = Classifier(hidden_size=4, embedding_size=4, epochs=1, threads=1).fit(texts, labels)
    resolved = model.resolved_
    assert (resolved.bidirectional, resolved.pooling, resolved.dropout, resolved.batch_size) == (
        True,
        "max",
        0.5,
        32,
    )
    longest = max(len(text.split()) for text in texts)
    assert 3 <= resolved.remember <= longest
    assert model.training_summary_["remember"] == resolved.remember
    assert Classifier(core="rnn", hidden_size=4, epochs=1).fit(texts, labels).resolved_.remember is None
    assert model.get_params() == clone(model).get_params()


def test_empty_input_gives_empty_output(trained: Classifier) -> None:
    assert trained.predict([]).shape == (0,)
    assert trained.predict_proba([]).shape == (0, 2)


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (["a b", "  "], ["x", "y"], r"X\[1\] is an empty text"),
        (["a b", 3], ["x", "y"], r"X\[1\] is int"),
        (["a b", "c"], ["x", "x"], "one class, 'x'"),
        (["a b", "c\udcff"], ["x", "y"], r"X\[1\] holds '\\udcff'.*surrogate"),
        (["a b", "c"], ["x", "\udcff"], r"y\[1\] holds '\\udcff'.*surrogate"),
        (["a b", "c"], np.array(["2024-01-01", "2025-01-01"], dtype="datetime64[D]"), r"y.astype\(str\)"),
        (["a b", "c"], ["x"], "2 sequences and y 1 labels"),
        ("a b", ["x"], "one string"),
        (["a b", "c"], None, "requires y"),
    ],
)
def test_refuses_in_fit(X, y, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Classifier(**QUICK_TEXT).fit(X, y)


def test_refuses_after_fit(trained: Classifier) -> None:
    with pytest.raises(
        ValueError, match=r"y\[1\] is 'up', a label that was not in training; known labels: 'left', 'right'"
    ):
        trained.evaluate(["a", "b"], ["left", "up"])
    with pytest.raises(ValueError, match="fitted on texts, and X holds numbers"):
        trained.predict(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="empty"):
        trained.evaluate([], [])
    with pytest.raises(ValueError, match=r"X\[0\] is an empty text"):
        trained.predict([""])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden_size": 0}, "hidden_size=0; it must be greater than 0"),
        ({"core": "lsmt"}, "core='lsmt'; it must be 'lstm', 'gru' or 'rnn'"),
        ({"remember": 2}, "remember=2"),
        ({"max_vocabulary": 2, "level": "char"}, "max_vocabulary=2; it must be 3 or more"),
        ({"learning_rate": float("nan")}, "learning_rate=nan"),
        ({"supervise_every": 4, "pooling": "max"}, "pooling='last'"),
    ],
)
def test_refuses_settings(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Classifier(**settings).fit(["a", "b"], ["x", "y"])


def test_memory_probe_measures_the_model(trained: Classifier) -> None:
    examples = first_word_decides(120, seed=3)
    probe = trained.memory_probe(*examples, sample=40)
    assert (len(probe.inputs), probe.total, probe.unit) == (40, 120, "word")
    assert all(" ".join(words) in examples[0] for words in probe.words)
    padded = torch.nn.utils.rnn.pad_sequence(list(probe.inputs), batch_first=True)
    lengths = torch.tensor([len(row) for row in probe.inputs])
    found = probe.model(padded, lengths=lengths)
    texts = [" ".join(words) for words in probe.words]
    np.testing.assert_allclose(found.detach().exp(), trained.predict_proba(texts), atol=1e-6)
    # Without the first word, the only one that counts, the model guesses.
    whole = torch.nn.functional.nll_loss(found, probe.targets)
    cut = torch.cat([probe.model(row[None, 1:]) for row in probe.inputs])
    assert torch.nn.functional.nll_loss(cut, probe.targets) > 3 * whole
    assert not torch.equal(probe.initial(padded, lengths=lengths), found)
    assert trained.memory_probe(examples[0]).targets is None


def test_memory_probe_says_how_the_model_was_trained(trained: Classifier, tmp_path: Path) -> None:
    examples = first_word_decides(20, seed=3)
    longest = int(trained.reader_.read(first_word_decides(240)[0], trained.kind_).lengths.max())
    norm = trained.training_summary_["gradient_norm"]
    norms = [line["gradient_norm"] for line in trained.history_]
    assert min(norms) / 2 < norm < max(norms)
    probe = trained.memory_probe(*examples)
    assert (probe.clip, probe.gradient_norms, probe.trained_steps) == (math.inf, (norm,), longest)
    assert (probe.chunk, probe.reset_every) == (math.inf, math.inf)
    assert probe.settings == {"clip": "clip_norm", "remember": "remember", "cell": "core"}
    # what has been slowed down was trained on as many more steps
    slower = copy.deepcopy(trained).stretch(3.0)
    assert slower.memory_probe(*examples).trained_steps == 3 * longest
    # of a model from before it was kept, the same is not known, but that it was not clipped where it was not
    trained.save_pretrained(tmp_path / "old")
    old = Classifier.from_pretrained(tmp_path / "old")
    old.resolved_ = old.resolved_.model_copy(update={"clip_norm": 1e-9})
    probe = old.memory_probe(*examples)
    assert (probe.clip, probe.gradient_norms) == (1e-9, (norm,))
    for name in ("gradient_norm", "trained_steps"):
        del old.training_summary_[name]
    probe = old.memory_probe(*examples)
    assert (probe.clip, probe.gradient_norms, probe.trained_steps) == (None, (), None)
    assert old.stretch(2.0).memory_probe(*examples).trained_steps is None
    old.resolved_ = old.resolved_.model_copy(update={"clip_norm": None})
    assert old.memory_probe(*examples).clip == math.inf


@pytest.mark.data
def test_questions_beat_the_majority_by_far(data_folder) -> None:
    def read(part: str) -> tuple[list[str], list[str]]:
        lines = (data_folder / "trec" / f"{part}.txt").read_text(encoding="utf-8").splitlines()
        labels, texts = zip(*(line.split(" ", 1) for line in lines), strict=True)
        return list(texts), list(labels)

    texts, labels = read("train")
    model = Classifier(hidden_size=32, embedding_size=32, epochs=5, learning_rate=0.01, threads=2)
    model.fit(texts[:1500], labels[:1500])
    result = model.evaluate(*read("test"))
    # The most frequent kind is that of 28 % of the questions.
    assert result["accuracy"] > 0.65, result
    assert result["unknown"] > 0
