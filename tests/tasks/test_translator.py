"""Translator: learns a toy language of every core, and treats each text as if it were alone."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from storyline import Translator, load
from storyline.data import TokenPairs
from storyline.memory import horizon
from storyline.tasks import UnseenLengthWarning
from storyline.tasks.estimator import measuring
from storyline.tasks.text_to_text_program import scheduled

SMALL = {
    "hidden_size": 32,
    "dropout": 0.0,
    "label_smoothing": 0.0,
    "epochs": 15,
    "learning_rate": 0.01,
    "batch_tokens": 300,
    "threads": 1,
}
NAMES = {"1": "one", "2": "two", "3": "three", "4": "four", "5": "five"}


def pairs(count: int, seed: int, longest: int = 4) -> tuple[list[str], list[str]]:
    """Digits, and their names in the opposite order: '1 2 5' is 'five two one'."""
    random = np.random.default_rng(seed)
    sources = [" ".join(random.choice(list(NAMES), random.integers(1, longest + 1))) for _ in range(count)]
    return sources, [" ".join(NAMES[digit] for digit in reversed(source.split())) for source in sources]


@pytest.fixture(scope="module")
def translator() -> Translator:
    return Translator(**SMALL).fit(*pairs(1000, seed=0))


KINDS = {
    "gru, input feeding": {"core": "gru", "attention": "general", "input_feeding": True, "epochs": 20},
    "no attention": {"attention": None, "num_layers": 1, "epochs": 25},
    "transformer": {"core": "transformer", "learning_rate": 0.003},
    "words": {"level": "word"},
    "copying": {"shared_vocabulary": True, "copying": True, "coverage": 0.1},
}


@pytest.mark.parametrize("kind", KINDS)
def test_learns_to_reverse_and_name(kind: str) -> None:
    model = Translator(**{**SMALL, **KINDS[kind]}).fit(*pairs(1000, seed=0))
    sources, targets = pairs(100, seed=1)
    right = np.mean([found == target for found, target in zip(model.predict(sources), targets, strict=True)])
    chance = np.mean([target == targets[0] for target in targets])
    assert right > 0.85 > chance, model.predict(sources)[:5]


# Some of the texts are longer than any that it learned, which changes nothing here.
@pytest.mark.filterwarnings("ignore:.* longer than any in training")
def test_each_text_is_translated_as_if_alone(translator: Translator) -> None:
    sources, _ = pairs(12, seed=2, longest=8)
    together = translator.predict_best(sources, n=3)
    for source, found in zip(sources, together, strict=True):
        ((*alone,),) = (translator.predict_best([source], n=3),)
        assert [text for text, _ in alone[0]] == [text for text, _ in found]
        np.testing.assert_allclose([score for _, score in alone[0]], [score for _, score in found], rtol=1e-5)


def test_empty_and_long_texts_are_counted_and_keep_their_places(translator: Translator) -> None:
    texts = ["1 2", "", "  ", "1 2 3 4 5 1 2 3 4 5", "3"]
    said = f"1 text is longer than any in training, which had at most {translator.lengths_.source - 1} tokens"
    with pytest.warns(UnseenLengthWarning, match=said) as warned:
        found = translator.predict(texts)
    # Once a call, at the line that called.
    assert [each.filename for each in warned] == [__file__]
    with pytest.warns(UnseenLengthWarning, match="2 texts are longer"):
        translator.predict_best([texts[3], texts[3]])
    with pytest.warns(UnseenLengthWarning):
        assert translator.predict(texts) == found
    assert found[1] == found[2] == ""
    assert (found[0], found[4]) == ("two one", "three")
    assert translator.empty_ == 2
    assert translator.longer_ == 1
    assert translator.predict([]) == []


def test_an_unknown_word_is_copied_from_the_source() -> None:
    sources, targets = pairs(1000, seed=0)
    names = np.random.default_rng(5).choice(["Ann", "Bob", "Cy"], len(sources))
    # Each name is too rare to be known, so that <unk> answers <unk>.
    taught = [
        (f"{name}{row} {source}", f"{target} {name}{row}")
        for row, (name, source, target) in enumerate(zip(names, sources, targets, strict=True))
    ]
    model = Translator(**{**SMALL, "level": "word", "min_count": 2}).fit(
        *map(list, zip(*taught, strict=True))
    )
    found = model.predict(["Zoe 1 2", "Zoe 3"])
    assert found == ["two one Zoe", "three Zoe"]
    assert model.unknown_ == (2, 7)


def test_a_saved_model_gives_the_same(translator: Translator, tmp_path: Path) -> None:
    translator.save_pretrained(tmp_path / "model")
    sources, targets = pairs(20, seed=3)
    restored = load(tmp_path / "model")
    assert isinstance(restored, Translator)
    assert restored.predict_best(sources) == translator.predict_best(sources)
    assert restored.evaluate(sources, targets) == translator.evaluate(sources, targets)


def test_attention_is_a_picture_of_numbers_that_sum_to_one(translator: Translator) -> None:
    alignment = translator.attention("1 2 3")
    assert alignment.target[-1] == alignment.source[-1] == "<end>"
    assert alignment.weights.shape == (len(alignment.target), len(alignment.source))
    np.testing.assert_allclose(alignment.weights.sum(1), 1, rtol=1e-5)
    axes = alignment.plot()
    assert [label.get_text() for label in axes.get_xticklabels()] == list(alignment.source)


def test_pairs_that_teach_nothing_are_left_out_and_counted() -> None:
    sources, targets = pairs(40, seed=0, longest=8)
    model = Translator(**{**SMALL, "epochs": 1, "longest": 6})
    model.fit([*sources, "", "3"], [*targets, "one", " "])
    assert model.dropped_["empty"] == 2
    ids = model._pairs(sources, targets)
    longer = np.maximum(ids.source_lengths, ids.target_lengths) > 6
    # Two of those that fit were held out, or two that do not.
    assert 0 < longer.sum() - 2 <= model.dropped_["longer"] <= longer.sum()


def test_refusals_name_what_came() -> None:
    with pytest.raises(ValueError, match="X holds 2 texts and y 1; give a target for each source"):
        Translator().fit(["a", "b"], ["c"])
    with pytest.raises(ValueError, match=r"y\[1\] is NoneType; give texts, '' where there is none"):
        Translator().fit(["a", "b"], ["c", None])
    with pytest.raises(ValueError, match="none of which can be held out"):
        Translator().fit(["a", ""], ["b", "c"])
    with pytest.raises(ValueError, match="no pair is left to learn from: of 2, 2 have an empty side"):
        Translator(validation_fraction=0.0).fit(["a", ""], ["", "c"])
    with pytest.raises(ValueError, match=r"copying=True .* set shared_vocabulary=True"):
        Translator(copying=True).fit(["a"], ["b"])
    with pytest.raises(ValueError, match="gnmt=True needs attention"):
        Translator(gnmt=True, attention=None).fit(["a"], ["b"])
    with pytest.raises(ValueError, match="hidden_size=30 is no multiple of num_heads=4"):
        Translator(core="transformer", hidden_size=30).fit(["a"], ["b"])


def test_a_beam_wider_than_the_vocabulary_is_refused(translator: Translator) -> None:
    size = translator.encoder_.target.size
    with pytest.raises(ValueError, match=f"beam is {size + 1}, and the vocabulary has {size} tokens"):
        translator.predict(["1 2"], beam=size + 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"attention": "dot"}, "attention='dot' multiplies .* set bidirectional=False"),
        ({"attention": "multihead", "hidden_size": 18}, "hidden_size=18 is no multiple of num_heads=4"),
        ({"attention": None, "coverage_penalty": 0.2}, "coverage_penalty=0.2 needs attention"),
        ({"gnmt": True, "num_layers": 1}, "at least 2 layers"),
        ({"input_feeding": True, "recurrent_dropout": 0.1}, "take weight_dropout"),
        ({"core": "transformer", "weight_dropout": 0.1}, "weight_dropout=0.1 is for recurrent models"),
        ({"copying": True, "shared_vocabulary": True, "attention": "local"}, "sum to less than 1"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Translator(**settings).fit(["a", "b"], ["b", "c"])


def test_the_heads_of_multihead_are_those_asked_for() -> None:
    few = {**SMALL, "epochs": 1, "hidden_size": 18, "attention": "multihead", "num_heads": 3}
    model = Translator(**few).fit(*pairs(20, seed=0))
    assert model.network_.decoder.attention.num_heads == 3


def test_a_fit_that_is_refused_leaves_the_model_as_it_was(translator: Translator) -> None:
    sources, _ = pairs(20, seed=6)
    before = translator.predict_best(sources)
    with pytest.raises(ValueError, match="no pair is left"):
        translator.set_params(longest=1).fit(["x y z"] * 9, ["z y x"] * 9)
    translator.set_params(longest=None)
    with pytest.raises(ValueError, match="validation holds 1 pairs and none with two sides"):
        translator.fit(["x y z"] * 9, ["z y x"] * 9, validation=([" "], ["x"]))
    assert translator.predict_best(sources) == before


def test_what_is_asked_of_predict_is_checked_by_its_name(translator: Translator) -> None:
    for name, value in (("beam", 0), ("beam", True), ("length_penalty", -1.0), ("coverage_penalty", "much")):
        with pytest.raises(ValueError, match=f"{name} is {value!r}"):
            translator.predict(["1"], **{name: value})
    with pytest.raises(ValueError, match="n is 0"):
        translator.predict_best(["1"], n=0)
    texts = [text for text, _ in translator.predict_best(["1 2 3"], n=5, beam=np.int64(8))[0]]
    assert len(set(texts)) == len(texts) <= 5


def test_a_model_without_attention_says_so() -> None:
    model = Translator(**{**SMALL, "epochs": 1, "attention": None}).fit(*pairs(40, seed=0))
    with pytest.raises(ValueError, match="this model has no attention"):
        model.attention("1 2")


def test_scheduled_sampling_replaces_all_but_the_first_by_what_the_model_says(translator: Translator) -> None:
    ids = translator._pairs(*pairs(6, seed=4))
    batch = TokenPairs(ids.sources, ids.targets, ids.begin_id, ids.end_id, ids.rows).batch(np.arange(6))
    assert torch.equal(scheduled(translator.network_, batch, 0.0), batch.target_in)
    torch.manual_seed(0)
    own = scheduled(translator.network_, batch, 1.0)
    assert torch.equal(own[:, 0], batch.target_in[:, 0])
    # The model knows its language, so what it draws is nearly always right.
    said = batch.target_out[:, :-1]
    assert (own[:, 1:][said >= 0] == said[said >= 0]).float().mean() > 0.8


def test_its_memory_is_measured_on_both_sides(translator: Translator) -> None:
    """What was read first is said last: the next word hangs on the source, and on how much of it has been said."""
    sources, targets = pairs(300, seed=5, longest=8)
    for side in ("source", "target"):
        probe = translator.memory_probe([*sources, " "], [*targets, ""], side=side)  # type: ignore[arg-type]
        assert (probe.total, probe.unit) == (300, "subword")
        assert probe.trained_steps == getattr(translator.lengths_, side)
        assert (probe.clip, probe.chunk, probe.reset_every) == (math.inf, math.inf, math.inf)
        assert set(probe.words[0]) <= set(getattr(translator.encoder_, side).names())  # type: ignore[index]
        with measuring(1):
            found = horizon(probe.model, probe.inputs, probe.targets, measures=("counterfactual", "use"))
        assert found.counterfactual is not None
        assert found.counterfactual.steps >= (3 if side == "source" else 1)
