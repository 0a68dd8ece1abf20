"""Answerer: it finds and writes answers, and refuses what it cannot use."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from storyline.memory import horizon
from storyline.tasks import Answerer, WordVectors, load
from storyline.tasks.answer_stories import read_stories
from storyline.tasks.answer_texts import check_asked
from storyline.tasks.estimator import measuring
from storyline.training import TrainingError

QUICK: dict[str, Any] = {
    "core": "gru",
    "hidden_size": 24,
    "embedding_size": 12,
    "spelling_size": 8,
    "character_size": 8,
    "dropout": 0.0,
    "batch_size": 16,
    "learning_rate": 0.01,
    "validation_fraction": 0.0,
    "threads": 1,
}
WRITING = QUICK | {"mode": "generate", "hidden_size": 48, "learning_rate": 0.003, "epochs": 10, "hops": 2}
POINTING = QUICK | {"mode": "span", "epochs": 8}
NAMES, PLACES = ("Mary", "John", "Sandra"), ("garden", "office", "kitchen", "hallway")
Rows = tuple[list[str], list[str], list[str]]


def who_is_where(n: int, seed: int = 0) -> Rows:
    """Stories in which three people walk; the answer is where one of them is, in three words."""
    generator = np.random.default_rng(seed)
    rows: Rows = [], [], []
    for _ in range(n):
        walks = [(name, generator.choice(PLACES)) for name in generator.permutation(NAMES)]
        name, place = walks[generator.integers(3)]
        story = " ".join(f"{who} went to the {where}." for who, where in walks)
        for column, value in zip(rows, (story, f"Where is {name}?", f"in the {place}"), strict=True):
            column.append(value)
    return rows


def codes(n: int, seed: int = 0) -> Rows:
    """Lists of names with codes of two words, all random; the answer is the code of the name that is asked for."""
    generator = np.random.default_rng(seed)
    rows: Rows = [], [], []
    for _ in range(n):
        words = ["".join(generator.choice(list("abcdefgh"), size=5)) for _ in range(12)]
        place = int(generator.integers(4))
        context = " ".join(f"{a.upper()} has {b}-{c}!" for a, b, c in np.reshape(words, (4, 3)))
        name, *code = words[3 * place : 3 * place + 3]
        for column, value in zip(rows, (context, f"What has {name.upper()}?", "-".join(code)), strict=True):
            column.append(value)
    return rows


@pytest.fixture(scope="module")
def writer() -> Answerer:
    return Answerer(**WRITING).fit(*who_is_where(400))


@pytest.fixture(scope="module")
def pointer() -> Answerer:
    return Answerer(**POINTING).fit(*codes(300))


def test_writes_answers_word_by_word(writer: Answerer) -> None:
    contexts, questions, answers = who_is_where(60, seed=1)
    result = writer.evaluate(contexts, questions, answers)
    assert result["exact_match"] > 0.9, result
    assert result["n"] == 60
    assert result["unknown"] == 0
    assert writer.resolved_.longest == 3
    assert (
        writer.evaluate(contexts, questions, [each.replace(" ", ",") for each in answers])["f1"]
        == result["f1"]
    )


def test_points_at_words_never_seen(pointer: Answerer) -> None:
    contexts, questions, answers = codes(60, seed=1)
    result = pointer.evaluate(contexts, questions, answers)
    assert result["f1"] > 0.9, result
    assert result["unknown"] > 60 * 10
    assert pointer.score(contexts, questions, answers) == result["f1"]
    for span, context, answer in zip(pointer.point(contexts, questions), contexts, answers, strict=True):
        assert context[span.start : span.end] == span.text
        assert 0 < span.probability <= 1
        if span.text == answer:
            assert span.start == context.index(answer)


def greedily(model: Answerer, context: str, question: str) -> str:
    """The likeliest next word, until that is the end, asked of the network by hand."""
    words, network = model.words_, model.network_
    stories = read_stories(check_asked([context], [question]), words)
    state = network.decoder.begin(network.encode(stories.batch(np.array([0]))))
    said: list[int] = [words.end_id]
    while len(said) <= model.resolved_.longest and (len(said) == 1 or said[-1] != words.end_id):
        scores, _, state = network.step(torch.tensor(said[-1:]), state)
        scores[0, [words.pad_id, words.unknown_id]] = -torch.inf
        scores[0, words.end_id] -= torch.inf if len(said) == 1 else 0
        said.append(int(scores.argmax()))
    return words.decode([word for word in said[1:] if word != words.end_id])


def test_a_beam_of_one_is_greedy(writer: Answerer) -> None:
    contexts, questions, _ = who_is_where(12, seed=6)
    with torch.no_grad():
        greedy = [greedily(writer, *row) for row in zip(contexts, questions, strict=True)]
    assert writer.predict(contexts, questions, beam=1) == writer.predict(contexts, questions) == greedy


def test_a_beam_finds_the_likeliest_answer(tmp_path: Path, pointer: Answerer) -> None:
    # Four answers in seven begin with red, but three in seven are just blue nine.
    told = ["red one"] * 2 + ["red two"] * 2 + ["blue nine"] * 3
    rows = ["It rains."] * 70, ["What?"] * 70, told * 10
    settings = {"hidden_size": 16, "hops": 1, "batch_size": 7, "epochs": 9, "learning_rate": 0.02}
    model = Answerer(**WRITING | settings).fit(*rows)
    assert model.predict(["It rains."], ["What?"])[0].startswith("red")
    assert model.predict(["It rains."], ["What?"], beam=3) == ["blue nine"]
    assert model.evaluate(*rows, beam=3)["exact_match"] == pytest.approx(3 / 7)
    model.set_params(beam=3).save_pretrained(tmp_path)
    assert load(tmp_path).predict(["It rains."], ["What?"]) == ["blue nine"]
    with pytest.raises(ValueError, match="beam is 0; it must be a whole number, 1 or more"):
        model.predict(["It rains."], ["What?"], beam=0)
    with pytest.raises(ValueError, match="beam is 2, and this model points at its answers"):
        pointer.predict(["A has b-c!"], ["What has A?"], beam=2)


@pytest.mark.parametrize("which", ["writer", "pointer"])
def test_answers_do_not_depend_on_the_others(which: str, request: pytest.FixtureRequest) -> None:
    model = request.getfixturevalue(which)
    contexts, questions, _ = who_is_where(12, seed=2) if which == "writer" else codes(12, seed=2)
    # One context is much longer than any in training.
    contexts[0] = " ".join([*contexts[1:8], contexts[0]])
    together = model.predict(contexts, questions)
    assert [model.predict([c], [q])[0] for c, q in zip(contexts, questions, strict=True)] == together
    assert model.predict(contexts[::-1], questions[::-1]) == together[::-1]
    assert model.predict([], []) == []


@pytest.mark.parametrize("which", ["writer", "pointer"])
def test_saved_and_loaded_is_the_same(which: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    model = request.getfixturevalue(which)
    rows = who_is_where(20, seed=2) if which == "writer" else codes(20, seed=2)
    model.save_pretrained(tmp_path)
    loaded = load(tmp_path)
    assert isinstance(loaded, Answerer)
    assert loaded.predict(*rows[:2]) == model.predict(*rows[:2])
    assert loaded.evaluate(*rows) == model.evaluate(*rows)
    if which == "writer":
        with pytest.raises(ValueError, match="writes its answers, and points at none"):
            loaded.point(*rows[:2])
    else:
        assert loaded.point(*rows[:2]) == model.point(*rows[:2])


@pytest.mark.parametrize(("settings", "rows"), [(WRITING, who_is_where(60)), (POINTING, codes(60))])
def test_stopped_and_resumed_is_the_same(settings: dict[str, Any], rows: Rows, tmp_path: Path) -> None:
    settings = settings | {"epochs": 2, "dropout": 0.2, "validation_fraction": 0.1, "checkpoint_every": 3}
    whole = Answerer(**settings).fit(*rows)

    def stop(event: object) -> None:
        if getattr(event, "step", 0) >= 5:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        Answerer(**settings).fit(*rows, folder=tmp_path, events=[stop])
    resumed = Answerer(**settings).fit(*rows, folder=tmp_path, resume=True)
    for name, value in whole.network_.state_dict().items():
        assert torch.equal(value, resumed.network_.state_dict()[name]), name
    with pytest.raises(TrainingError, match=r"other data \(asked\)"):
        Answerer(**settings).fit(rows[0], rows[1][::-1], rows[2], folder=tmp_path, resume=True)


def test_mode_is_chosen_by_the_answers_and_said() -> None:
    said: list[object] = []
    once = {"mode": "auto", "max_steps": 1}
    model = Answerer(**QUICK | once).fit(*codes(30), events=[said.append])
    assert model.resolved_.mode == model.training_summary_["mode"] == "span"
    assert "mode='auto' became 'span': 30 of 30 answers" in str(said[0])
    # "yes" stands in every context, but two answers for thirty rows are a word list.
    contexts = ["yes or no"] * 30
    model = Answerer(**QUICK | once).fit(contexts, ["why?"] * 30, ["yes", "no"] * 15)
    assert model.resolved_.mode == "generate"
    # The answers are different, and stand nowhere.
    model = Answerer(**QUICK | once).fit(contexts, ["why?"] * 30, [f"because {row}" for row in range(30)])
    assert model.resolved_.mode == "generate"


def test_rows_without_their_answer_are_left_out_and_said() -> None:
    contexts, questions, answers = codes(20)
    answers[3], answers[7] = "nowhere", answers[7].upper()
    said: list[object] = []
    model = Answerer(**POINTING | {"max_steps": 1}).fit(contexts, questions, answers, events=[said.append])
    assert model.dropped_ == [3, 7]
    assert model.training_summary_["dropped"] == 2
    assert model.training_summary_["examples"] == 18
    assert "2 of 20 training rows are left out" in str(said[0])
    assert "rows 3, 7" in str(said[0])
    with pytest.raises(ValueError, match="no answer stands in its context"):
        Answerer(**POINTING).fit(contexts, questions, ["nowhere"] * 20)


def test_unlabelled_texts_teach_word_vectors() -> None:
    contexts, questions, answers = codes(20)
    more = ["the river runs to the sea"] * 5
    settings = POINTING | {"max_steps": 1, "embedding_size": 8}
    model = Answerer(**settings).fit(contexts, questions, answers, unlabelled=more)
    assert "river" in model.words_.vocabulary
    assert "river" not in Answerer(**settings).fit(contexts, questions, answers).words_.vocabulary
    with pytest.raises(ValueError, match="mode='generate' does not use"):
        Answerer(**WRITING).fit(contexts, questions, answers, unlabelled=more)


def test_given_vectors_are_where_it_starts() -> None:
    rows = codes(20)
    given = WordVectors.of(["has", "what", "river"], np.eye(3, 12, dtype=np.float32))
    settings = POINTING | {"max_steps": 1, "embedding_size": "auto", "freeze_vectors": True}
    model = Answerer(**settings).fit(*rows, vectors=given)
    assert model.resolved_.embedding_size == 12
    found = model.network_.embedding.weight[model.words_.vocabulary.index["river"]]
    assert found.tolist() == np.eye(3, 12)[2].tolist()
    assert model.training_summary_["given_vectors"] == 3
    with pytest.raises(ValueError, match="unlabelled texts teach word vectors, and vectors were given"):
        Answerer(**settings).fit(*rows, vectors=given, unlabelled=["a b"])
    with pytest.raises(ValueError, match="freeze_vectors=True keeps the vectors"):
        Answerer(**settings).fit(*rows)


def test_validation_holds_out_whole_contexts() -> None:
    contexts, questions, answers = codes(10)
    several = [each for each in contexts for _ in range(3)], [q for q in questions for _ in range(3)]
    settings = POINTING | {"max_steps": 1, "validation_fraction": 0.2}
    model = Answerer(**settings).fit(*several, [a for a in answers for _ in range(3)])
    assert model.training_summary_["examples"] == 24
    assert set(model.training_summary_["best"]) == {"exact_match", "f1"}
    given = Answerer(**settings).fit(*several, [a for a in answers for _ in range(3)], validation=codes(3))
    assert given.training_summary_["examples"] == 30
    with pytest.raises(ValueError, match="all questions are about one context"):
        Answerer(**settings).fit(["a b"] * 3, ["what?"] * 3, ["a"] * 3)


@pytest.mark.parametrize(
    ("contexts", "questions", "answers", "message"),
    [
        (["a b", " "], ["c", "d"], ["a", "b"], r"contexts\[1\] is an empty text"),
        (["a b"], [""], ["a"], r"questions\[0\] is an empty text"),
        (["a b"], ["c"], [" "], r"answers\[0\] is an empty text"),
        (["a b"], ["c"], [[]], r"answers\[0\] is an empty list"),
        (["a b"], ["c"], [3], r"answers\[0\] is of the type int"),
        (["a b"], ["c", "d"], ["a"], "1 contexts and 2 questions"),
        (["a b"], ["c"], ["a", "b"], "1 questions and 2 answers"),
        ("a b", ["c"], ["a"], "contexts is one string"),
        ([], [], [], "contexts are empty"),
    ],
)
def test_what_cannot_be_learned_is_refused(contexts: Any, questions: Any, answers: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Answerer(**QUICK).fit(contexts, questions, answers)


def test_settings_and_blank_questions_are_refused(writer: Answerer, pointer: Answerer) -> None:
    with pytest.raises(ValueError, match="hops=0; it must be greater than 0"):
        Answerer(hops=0).fit(["a b"], ["c"], ["a"])
    with pytest.raises(
        ValueError, match=r"validation is of the type tuple; give \(contexts, questions, answers\)"
    ):
        Answerer(**QUICK).fit(["a b"], ["c"], ["a"], validation=(["a"], ["b"]))
    for model in (writer, pointer):
        with pytest.raises(ValueError, match=r"contexts\[0\] is an empty text"):
            model.predict([""], ["Where?"])
        with pytest.raises(ValueError, match=r"questions\[1\] is an empty text"):
            model.predict(["Mary left.", "John left."], ["Who left?", "\n"])


def test_where_it_looked_is_shown(writer: Answerer, pointer: Answerer) -> None:
    contexts, questions, _ = who_is_where(1, seed=3)
    looked = writer.attention(contexts[0], questions[0])
    assert looked.weights.shape == (2, 3)
    np.testing.assert_allclose(looked.weights.sum(1), 1, rtol=1e-5)
    # The sentence that names the person asked for is what the hops look at.
    asked = questions[0].split()[-1].strip("?")
    assert asked in looked.source[int(looked.weights.mean(0).argmax())]
    contexts, questions, _ = codes(1, seed=3)
    found = pointer.attention(contexts[0], questions[0])
    np.testing.assert_allclose(found.weights.sum(1), 1, rtol=1e-5)
    (span,) = pointer.point(contexts, questions)
    first, last = found.weights.argmax(1)
    assert span.text.startswith(found.source[first])
    assert span.text.endswith(found.source[last])
    assert [label.get_text() for label in found.plot().get_yticklabels()] == ["begins", "ends"]


@pytest.mark.parametrize("which", ["writer", "pointer"])
def test_its_memory_can_be_measured(which: str, request: pytest.FixtureRequest) -> None:
    model = request.getfixturevalue(which)
    rows = who_is_where(40, seed=2) if which == "writer" else codes(40, seed=2)
    probe = model.memory_probe(*rows, sample=16)
    lengths = torch.tensor([len(each) for each in probe.inputs])
    answers = probe.model(torch.nn.utils.rnn.pad_sequence(list(probe.inputs), batch_first=True), lengths)
    torch.testing.assert_close(answers.exp().sum(-1), torch.ones(answers.shape[:-1]))
    chosen = [rows[0].index(" ".join(words)) for words in probe.words] if which == "writer" else None
    if chosen is None:
        assert (answers.argmax(1) == probe.targets).float().mean() > 0.8
    else:
        first = [model.words_.vocabulary.tokens[int(row.argmax())] for row in answers]
        assert first == [model.predict([rows[0][row]], [rows[1][row]])[0].split()[0] for row in chosen]
    assert probe.trained_steps == model.training_summary_["trained_steps"] >= max(map(len, probe.words)) - 1
    assert (probe.clip, probe.chunk, len(probe.gradient_norms)) == (math.inf, math.inf, 1)
    # Small networks wait for each other's threads more than they compute.
    with measuring(1):
        found = horizon(probe.model, probe.inputs, probe.targets, measures=("counterfactual",))
    assert found.counterfactual is not None
    assert found.counterfactual.steps >= 1
