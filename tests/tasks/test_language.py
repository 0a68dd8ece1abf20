"""LanguageModel: it learns from far back, scores whole texts with the state carried, and goes on token by token."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from storyline import artifact
from storyline.memory import measure
from storyline.search import Sampling
from storyline.tasks import LanguageModel, load

QUICK: dict[str, Any] = {
    "hidden_size": 32,
    "embedding_size": 16,
    "steps": 12,
    "batch_size": 8,
    "epochs": 6,
    "dropout": 0.0,
    "learning_rate": 0.02,
    "validation_fraction": 0.0,
    "threads": 1,
}


def echoes(n: int, seed: int = 0, gap: int = 5) -> str:
    """Lines like "a.....a": what comes after the dots is what stood before them."""
    letters = np.random.default_rng(seed).choice(list("abcd"), size=n)
    return "".join(f"{letter}{'.' * gap}{letter}\n" for letter in letters)


ATTENTIVE: dict[str, Any] = QUICK | {
    "core": "transformer",
    "num_layers": 2,
    "num_heads": 2,
    "learning_rate": 8e-3,
    "epochs": 3,
}


@pytest.fixture(scope="module")
def trained() -> LanguageModel:
    return LanguageModel(**QUICK).fit(echoes(600))


@pytest.fixture(scope="module")
def attentive() -> LanguageModel:
    return LanguageModel(**ATTENTIVE).fit(echoes(600))


@pytest.fixture(params=["trained", "attentive"])
def model(request: pytest.FixtureRequest) -> LanguageModel:
    """Either; their settings differ by a word, and by how fast they learn."""
    found: LanguageModel = request.getfixturevalue(request.param)
    return found


def test_both_cores_learn_what_must_be_remembered(model: LanguageModel) -> None:
    learns(model)


def test_a_gru_learns_what_must_be_remembered() -> None:
    learns(LanguageModel(**QUICK, core="gru").fit(echoes(600)))


def learns(model: LanguageModel) -> None:
    result = model.evaluate(echoes(100, seed=1))
    # One letter in 8 is new (log 4 nats); without memory its echo would cost as much again.
    floor = math.log(4) / 8
    assert floor - 0.02 < result["nats"] < floor + 0.06, result
    assert result["n"] == 8 * 100 - 1
    assert result["nats_per_character"] == pytest.approx(result["nats"])
    assert result["bits"] == pytest.approx(result["nats"] / math.log(2))
    assert result["perplexity"] == pytest.approx(math.exp(result["nats"]))


def test_the_state_is_carried_through_a_text(model: LanguageModel) -> None:
    text = echoes(300, seed=2)
    ids = torch.from_numpy(model.encoder_.encode(text))
    with torch.no_grad():
        output, _ = model.network_(ids[None, :-1])
        whole = -model.network_.head.log_probabilities(output)[0].gather(1, ids[1:, None])
    # 2,400 characters are read in several chunks; the loss is that of one reading.
    assert model.evaluate(text)["nats"] == pytest.approx(float(whole.mean()), rel=1e-5)
    assert model.score(text) == -model.evaluate(text)["nats"]


def test_steps_equal_the_whole_reading(model: LanguageModel) -> None:
    ids = torch.from_numpy(model.encoder_.encode(echoes(4, seed=3)))
    carry, found = None, []
    with torch.no_grad():
        for id_ in ids:
            scores, carry = model.network_.step(id_[None], carry)
            found.append(scores[0])
        output, last = model.network_(ids[None])
        whole = model.network_.head.log_probabilities(output)[0]
    torch.testing.assert_close(torch.stack(found), whole, atol=1e-5, rtol=1e-5)
    for name, part in last.items():
        torch.testing.assert_close(carry[name], part, atol=1e-5, rtol=1e-5)


def test_generates_what_the_model_foretells(model: LanguageModel) -> None:
    text = model.generate("a.....a\nb", 7, temperature=0)
    assert text == "a.....a\nb.....b\n"
    many = model.generate("a.....a\n", 400, seed=1)
    lines = many.split("\n")[1:-1]
    assert {line[0] for line in lines} == set("abcd")
    assert np.mean([line[0] == line[-1] and len(line) == 7 for line in lines]) > 0.9


def test_generating_equals_reading_again_at_every_token(model: LanguageModel) -> None:
    text, found = "c...", ""
    with torch.no_grad():
        for _ in range(12):
            output, _ = model.network_(torch.from_numpy(model.encoder_.encode(text + found))[None])
            scores = model.network_.head.log_probabilities(output[0, -1])
            scores[:3] = -torch.inf
            found += model.encoder_.decode([int(scores.argmax())])
    assert model.generate(text, 12, temperature=0) == text + found


def test_one_seed_gives_one_text_and_leaves_no_trace(trained: LanguageModel) -> None:
    before = torch.get_rng_state()
    first = trained.generate("a", 60, seed=5, temperature=1.5)
    assert trained.generate("a", 60, seed=5, temperature=1.5) == first
    assert trained.generate("a", 60, seed=6, temperature=1.5) != first
    assert trained.generate("a", 60, temperature=1.5) != trained.generate("a", 60, temperature=1.5)
    assert torch.equal(torch.get_rng_state(), before)


def test_length_counts_the_tokens_that_are_added(trained: LanguageModel) -> None:
    assert len(trained.generate("", 20, seed=1)) == 20
    assert [trained.generate(prompt, 0) for prompt in ("", "ab")] == ["", "ab"]
    assert len(trained.generate("", 1)) == 1
    assert len(trained.generate("ab", np.int64(3))) == 5
    # The first token, too, is the likeliest: the dots are more than all the rest.
    assert trained.generate("", 1, temperature=0) == trained.generate("", 1, top_k=1) == "."
    words = LanguageModel(**QUICK | {"level": "word", "epochs": 1}).fit(" ".join(SENTENCES))
    assert words.generate("", 0) == ""
    assert len(words.generate("", 7, seed=0).split()) == 7
    # A blank at the prompt's end is not doubled.
    assert words.generate("the ", 2, seed=0) == words.generate("the", 2, seed=0)


def test_sampling_keeps_to_its_limits() -> None:
    scores = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    generator = torch.Generator().manual_seed(0)

    def drawn(**limits: Any) -> list[float]:
        sampling = Sampling(**limits)
        found = [sampling.draw(scores, generator) for _ in range(2000)]
        return [found.count(token) / 2000 for token in range(4)]

    assert drawn() == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.05)
    assert drawn(temperature=0) == [1, 0, 0, 0]
    assert drawn(top_k=2) == pytest.approx([0.625, 0.375, 0, 0], abs=0.05)
    assert Sampling(top_k=1).draw(torch.zeros(9), generator) in range(9)
    even = [Sampling(top_k=2).draw(torch.zeros(9), generator) for _ in range(100)]
    assert len(set(even)) == 2
    assert drawn(top_p=0.7) == pytest.approx([0.625, 0.375, 0, 0], abs=0.05)
    assert drawn(top_p=0.01) == [1, 0, 0, 0]
    squared = np.array([0.25, 0.09, 0.0225, 0.0025])
    assert drawn(temperature=0.5) == pytest.approx(squared / squared.sum(), abs=0.05)


def test_saved_and_loaded_is_the_same(model: LanguageModel, tmp_path) -> None:
    model.save_pretrained(tmp_path)
    loaded = load(tmp_path)
    assert isinstance(loaded, LanguageModel)
    assert loaded.evaluate(echoes(50, seed=4)) == model.evaluate(echoes(50, seed=4))
    assert loaded.generate("a", 50, seed=1) == model.generate("a", 50, seed=1)
    assert loaded.suggest("a..", 3) == model.suggest("a..", 3)


def test_a_model_of_another_version_is_named(trained: LanguageModel, tmp_path: Path) -> None:
    trained.save_pretrained(tmp_path / "model")
    saved = artifact.load(tmp_path / "model")
    settings = saved.config["settings"] | {"of_tomorrow": 1}
    other = replace(saved, config=saved.config | {"settings": settings})
    with pytest.raises(artifact.ArtifactError, match="saved with of_tomorrow, which no LanguageModel"):
        LanguageModel.from_artifact(other)


def test_a_transformer_keeps_its_window_and_no_more(attentive: LanguageModel, tmp_path: Path) -> None:
    assert attentive.resolved_.window == QUICK["steps"]
    network, ids = attentive.network_, torch.from_numpy(attentive.encoder_.encode(echoes(9, seed=6)))
    with torch.no_grad():
        _, kept = network(ids[None, :40])
        assert {name: part.shape[3] for name, part in kept.items() if name != "read"} == {
            "cache_0": 11,
            "cache_1": 11,
        }
        # What is kept goes through a file, and on from there with the same bits.
        save_file({name: part.contiguous() for name, part in kept.items()}, tmp_path / "kept")
        there, here = (network(ids[None, 40:], carry) for carry in (load_file(tmp_path / "kept"), kept))
    assert torch.equal(there[0], here[0])
    assert all(torch.equal(there[1][name], part) for name, part in here[1].items())


def test_a_row_that_begins_again_reads_as_if_nothing_had_been_before(model: LanguageModel) -> None:
    before, after = (
        torch.from_numpy(model.encoder_.encode(echoes(6, seed=seed))).view(2, 24) for seed in (7, 8)
    )
    network = model.network_
    with torch.no_grad():
        _, carry = network(before)
        output, _ = network(after, network.begun_again(carry, torch.tensor([False, True])))
        going_on, fresh = network(after, carry)[0], network(after)[0]
    torch.testing.assert_close(output[0], going_on[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(output[1], fresh[1], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(going_on[1], fresh[1], atol=1e-3)


@pytest.mark.parametrize("core", ["lstm", "transformer"])
def test_stopped_and_resumed_is_the_same(core: str, tmp_path) -> None:
    settings = QUICK | {
        "core": core,
        "epochs": 2,
        "checkpoint_every": 5,
        "validation_fraction": 0.1,
        "dropout": 0.2,
    }
    whole = LanguageModel(**settings).fit(echoes(150))

    def stop(event: object) -> None:
        if getattr(event, "step", 0) >= 13:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        LanguageModel(**settings).fit(echoes(150), folder=tmp_path, events=[stop])
    resumed = LanguageModel(**settings).fit(echoes(150), folder=tmp_path, resume=True)
    for name, value in whole.network_.state_dict().items():
        assert torch.equal(value, resumed.network_.state_dict()[name]), name


SENTENCES = ["the cat sat on the mat", "the dog sat on the log", "a bird sang in the tree"] * 30


@pytest.mark.parametrize(
    "more",
    [
        {"level": "word"},
        {"level": "word", "tied": False},
        {"level": "word", "softmax": "adaptive", "min_count": 2, "hidden_size": 64},
        {"level": "word", "softmax": "sampled", "candidates": 8},
        {"level": "word", "word_vectors": True, "shortcut": True, "embedding_size": 4},
        {"level": "subword", "max_vocabulary": 300, "core": "gru"},
        {"level": "word", "core": "transformer", "shortcut": True, "window": 5},
        {"level": "char", "num_layers": 2, "learn_initial_state": True, "core": "rnn", "remember": 6},
    ],
    ids=lambda more: " ".join(map(str, more.values())),
)
def test_every_level_and_head_learns_documents(more: dict[str, Any], tmp_path, monkeypatch) -> None:
    # An adaptive head needs more words than its first cutoff.
    monkeypatch.setattr("storyline.tasks.language_network._CUTOFFS", (6,))
    model = LanguageModel(**QUICK | {"batch_size": 4} | more).fit(SENTENCES)
    result = model.evaluate(SENTENCES[:3])
    uniform = math.log(model.encoder_.size)
    assert result["nats"] < 0.5 * uniform
    model.save_pretrained(tmp_path)
    assert load(tmp_path).evaluate(SENTENCES[:3]) == result
    text = model.generate("the cat", 30, seed=0)
    assert text.startswith("the cat")
    assert "<" not in text


def test_an_adaptive_softmax_names_the_size_that_it_needs(monkeypatch) -> None:
    monkeypatch.setattr("storyline.tasks.language_network._CUTOFFS", (4, 6, 8))
    settings = QUICK | {"level": "word", "softmax": "adaptive"}
    with pytest.raises(ValueError, match=r"needs hidden_size=64 or more.* and hidden_size is 32"):
        LanguageModel(**settings).fit(" ".join(SENTENCES))
    LanguageModel(**settings | {"hidden_size": 64, "epochs": 1}).fit(" ".join(SENTENCES))


def test_documents_end_where_the_model_says_so() -> None:
    model = LanguageModel(**QUICK | {"epochs": 20}).fit(["abcd", "xy"] * 60)
    assert model.generate("ab", 50, temperature=0) == "abcd"
    # So does the word that is being spelled.
    (word, probability), *_ = model.suggest("ab", 1)
    assert word == "abcd"
    assert probability > 0.9
    # An empty prompt begins a document.
    assert {model.generate("", 50, seed=seed, temperature=0.5) for seed in range(12)} == {"abcd", "xy"}


def test_documents_are_ended_as_the_model_learned_it(tmp_path) -> None:
    several = LanguageModel(**QUICK | {"epochs": 1}).fit(["abcd", "xy"] * 60)
    # A single document is scored like each of several: three letters, and its end.
    assert several.evaluate("abcd")["n"] == 4
    assert several.evaluate(["abcd", "xy"])["n"] == 7
    several.save_pretrained(tmp_path)
    assert load(tmp_path).evaluate("abcd") == several.evaluate("abcd")
    # The one document that is left to learn from, and the one held out, are ended, too.
    halved = LanguageModel(**QUICK | {"epochs": 1, "validation_fraction": 0.5}).fit(["ab" * 60, "ba" * 30])
    assert halved.training_summary_["tokens"] == 121
    assert halved.unknown_ == (0, 61)
    single = LanguageModel(**QUICK | {"epochs": 1}).fit("abcdxy" * 60)
    assert single.evaluate(["abcd", "xy"]) == single.evaluate("abcdxy")


def test_suggests_the_next_word() -> None:
    model = LanguageModel(**QUICK | {"level": "word", "epochs": 15}).fit(SENTENCES)
    (first, probability), *others = model.suggest("the cat sat", 3)
    assert first == "on"
    assert probability > 0.8
    assert all(word not in ("<pad>", "<unk>", "<end>") for word, _ in others)


def test_spells_the_next_word_by_characters() -> None:
    model = LanguageModel(**QUICK | {"epochs": 20}).fit(" ".join(SENTENCES) + " ")
    found = dict(model.suggest("the cat sat on the ", 5))
    # Words of the text, whole, with probabilities that are shares of one.
    assert {"mat", "log"} & set(found)
    assert 0 < sum(found.values()) <= 1
    # Without a prefix: words by how frequent their first letter was.
    assert {"the", "a"} & {word for word, _ in model.suggest("", 8)}
    word, probability = model.suggest("the cat sa", 1)[0]
    assert word == "sat"
    assert probability > 0.5


def test_unknown_tokens_are_counted(trained: LanguageModel) -> None:
    assert trained.evaluate("a..€..a\n")["unknown"] == 1
    trained.generate("€€a", 3, seed=0)
    assert trained.unknown_ == (2, 3)


def test_the_end_of_the_text_is_held_out() -> None:
    text = echoes(100) + "zzzzzzzz" * 12
    model = LanguageModel(**QUICK | {"epochs": 1, "validation_fraction": 0.11}).fit(text)
    assert "z" not in model.encoder_.names()
    assert model.unknown_[0] > 80
    assert model.training_summary_["best"].keys() == {"loss"}
    chosen = LanguageModel(**QUICK | {"epochs": 1}).fit(text, validation=echoes(20, seed=9))
    assert "z" in chosen.encoder_.names()
    assert chosen.unknown_ == (0, 160)


def test_memory_probe_measures_the_model(trained: LanguageModel) -> None:
    text = echoes(200, seed=5)
    probe = trained.memory_probe(text, sample=400)
    rows = torch.stack(list(probe.inputs))
    assert rows.shape[:2] == (400, 48)
    assert probe.unit == "character"
    assert "".join(probe.words[0]) in text
    answers = probe.model(rows)
    torch.testing.assert_close(answers.exp().sum(1), torch.ones(400))

    def loss(k: int) -> float:
        return torch.nn.functional.nll_loss(probe.model(rows[:, -k:]), probe.targets).item()

    # The echo lies 6 steps back, and to know that it is due takes as many.
    assert loss(2) > loss(8) + 0.1
    assert loss(8) == pytest.approx(loss(48), abs=0.05)
    assert not torch.equal(probe.initial(rows), answers)
    shown = [
        trained.encoder_.decode([*row.tolist(), answer])
        for row, answer in zip(probe.symbols, probe.symbol_targets.tolist(), strict=True)
    ]
    assert all(each in text for each in shown)
    # of a short text no window is shown twice
    few = trained.memory_probe(text[:9], sample=400)
    assert len(few.inputs) == 9 - 4


def test_a_training_that_could_not_reach_as_far_as_the_text_needs_is_told() -> None:
    # an echo lies 6 steps back
    short = QUICK | {"epochs": 1, "steps": 2, "clip_norm": 1e-8, "remember": None}
    model = LanguageModel(**short).fit(echoes(600))
    probe = model.memory_probe(echoes(200, seed=5))
    assert (probe.chunk, probe.reset_every, probe.trained_steps) == (2, 100, math.inf)
    report = measure(probe)
    assert report.diagnosis is not None
    assert {"truncated too short", "clipped too hard"} <= set(report.diagnosis.names)
    assert not report.diagnosis.unsought
    norm = model.training_summary_["gradient_norm"]
    assert model.training_summary_["clipped_share"] == 1.0
    sentences = " ".join(report.sentences)
    assert f"--set clip_norm={float(f'{2 * norm:.2g}')}." in sentences
    assert "--set steps=16." in sentences
    # a clip far above the epsilon of Adam does not make its steps smaller
    model.resolved_ = model.resolved_.model_copy(update={"clip_norm": 0.002})
    assert model.memory_probe(echoes(200, seed=5)).clip == math.inf


def test_a_stream_or_a_window_may_end_before_or_behind_a_chunk(attentive: LanguageModel) -> None:
    few = LanguageModel(**QUICK | {"epochs": 1, "batch_size": 8, "steps": 50}).fit("abcab" * 41)
    # 205 characters, of which each but the last is read, in 8 streams
    assert few.memory_probe("abcab" * 9).chunk == 25
    probe = attentive.memory_probe(echoes(200, seed=5))
    assert probe.chunk is None
    assert "remember" not in probe.settings


def test_the_initial_stack_is_rebuilt_bit_for_bit(trained: LanguageModel) -> None:
    fresh = LanguageModel(**QUICK | {"epochs": 1, "learning_rate": 1e-12, "weight_decay": 0.0}).fit(
        echoes(600)
    )
    for name, value in trained.initial_network().layer.state_dict().items():
        torch.testing.assert_close(fresh.network_.layer.state_dict()[name], value, atol=1e-9, rtol=0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"X\[0\] is an empty text"),
        ([], "no text"),
        (["a", 3], r"X\[1\] is int"),
        (None, "X is of the type NoneType; give a list of texts, or a single one"),
        (b"ab", "X is of the type bytes"),
        (["a", "b\udc80"], r"X\[1\] holds '\\udc80' as its character 2, half of a surrogate pair"),
        ("abc", "has 3 tokens, too few for batch_size=8 streams"),
    ],
)
def test_refuses_in_fit(text: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LanguageModel(**QUICK).fit(text)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -1}, "temperature is -1"),
        ({"temperature": "hot"}, "temperature is 'hot'; it must be a number"),
        ({"top_k": 0}, "top_k is 0"),
        ({"top_k": 2.5}, "top_k is 2.5"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**63}, "seed is 9223372036854775808; it must be less"),
        ({"top_p": 1.5}, "top_p is 1.5"),
    ],
)
def test_refuses_to_generate(trained: LanguageModel, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trained.generate("a", 3, **settings)


def test_refuses_elsewhere(trained: LanguageModel) -> None:
    with pytest.raises(ValueError, match="length is -1"):
        trained.generate("a", -1)
    with pytest.raises(ValueError, match=r"validation\[0\] is an empty text"):
        LanguageModel(**QUICK).fit(echoes(30), validation="")
    with pytest.raises(ValueError, match=r"length is 2\.5; it must be a whole number"):
        trained.generate("a", 2.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="prompt is NoneType"):
        trained.generate(None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="k is 0"):
        trained.suggest("a", 0)
    with pytest.raises(ValueError, match="the first is not scored"):
        trained.evaluate("a")
    text = " ".join(SENTENCES)
    with pytest.raises(ValueError, match=r"beyond the first 2000, .* only 15; set softmax='full'"):
        LanguageModel(**QUICK | {"level": "word", "softmax": "adaptive"}).fit(text)
    with pytest.raises(ValueError, match="embedding_size is 16; 12 words with neighbours allow 1 to 11"):
        LanguageModel(**QUICK | {"level": "word", "word_vectors": True}).fit(text)
    with pytest.raises(ValueError, match=r"max_vocabulary=100; it must be 259 or more, .* the bytes"):
        LanguageModel(**QUICK | {"level": "subword", "max_vocabulary": 100}).fit(text)
    for settings, message in (
        ({"window": 9}, "window is for core='transformer', and core is 'lstm'"),
        ({"core": "transformer", "remember": 9}, "remember is for recurrent cores"),
        ({"core": "transformer", "num_heads": 5}, "hidden_size=32 is no multiple of num_heads=5"),
    ):
        with pytest.raises(ValueError, match=message):
            LanguageModel(**QUICK | settings).fit(text)
    with pytest.raises(ValueError, match="softmax='adaptive' cannot be tied"):
        LanguageModel(level="word", tied=True, softmax="adaptive").fit("a b c")
