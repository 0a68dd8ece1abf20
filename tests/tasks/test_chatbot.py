"""Chatbot: it answers by what was said turns ago, reads a turn once, and goes on from a file with the same bits."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from introductions import NAMES, SETTINGS, introductions

from storyline.artifact import ArtifactError
from storyline.tasks import Chatbot, load


@pytest.fixture(scope="module")
def trained() -> Chatbot:
    return Chatbot(**SETTINGS).fit(introductions(400))


@pytest.fixture
def read(trained: Chatbot) -> Any:
    """How many tokens the network reads, by a hook where they all pass."""
    counts: list[int] = []
    handle = trained.network_.embedding.register_forward_hook(
        lambda module, ids, output: counts.append(ids[0].numel())
    )
    yield counts
    handle.remove()


ATTENTIVE: dict[str, Any] = SETTINGS | {
    "core": "transformer",
    "num_layers": 2,
    "epochs": 15,
    "warmup": 0.1,
    "learning_rate": 5e-3,
}


@pytest.fixture(scope="module")
def attentive() -> Chatbot:
    return Chatbot(**ATTENTIVE).fit(introductions(400))


@pytest.mark.parametrize("model", ["trained", "attentive"])
def test_learns_what_was_said_turns_ago(model: str, request: pytest.FixtureRequest) -> None:
    bot: Chatbot = request.getfixturevalue(model)
    for name in NAMES:
        chat = bot.conversation(seed=0)
        chat.reply(f"i am {name}", temperature=0)
        assert chat.reply("who am i?", temperature=0) == name
    result = bot.evaluate(introductions(100, seed=1))
    # Without memory the name would cost log 4 a second time.
    floor = 2 * math.log(4) / (result["n"] / 100)
    assert floor - 0.01 < result["nats"] < floor + 0.03
    assert result["perplexity"] == pytest.approx(math.exp(result["nats"]))
    assert result["bits"] == pytest.approx(result["nats"] / math.log(2))
    assert (result["dialogues"], result["turns"]) == (100, 400)


def test_a_reply_costs_the_turn_and_not_the_history(trained: Chatbot, read: list[int]) -> None:
    chat = trained.conversation(seed=1)
    turn, size = "nice day", {name: value.shape for name, value in chat.state.carry.items()}
    heard = len(trained.encoder_.encode(" " + turn))
    for turns in range(1, 60):
        read.clear()
        said = trained.encoder_.encode(" " + chat.reply(turn, top_k=8))
        assert chat.last is not None
        # The turn, the reply, and an <end> after each; the network saw nothing else.
        assert sum(read) == chat.last.read
        assert chat.last.read <= heard + 100 + 2
        if len(said) < 10:
            assert chat.last.read == heard + len(said) + 2
        assert chat.state.turns == 2 * turns
        assert {name: value.shape for name, value in chat.state.carry.items()} == size


def test_replies_are_those_of_reading_all_again(trained: Chatbot) -> None:
    chat, end = trained.conversation(), trained.encoder_.end_id
    history = [end]
    for turn in ("i am eve", "so it is", "hello!", "who am i?"):
        history += [*trained.encoder_.encode(" " + turn), end]
        said: list[int] = []
        with torch.no_grad():
            while not said or said[-1] != end:
                output, _ = trained.network_(torch.tensor([history + said]))
                scores = trained.network_.head.log_probabilities(output[0, -1])
                scores[[0, 1] if said else [0, 1, end]] = -torch.inf
                said.append(int(scores.argmax()))
        history += said
        assert chat.reply(turn, temperature=0) == trained.encoder_.decode(said).strip()
        assert chat.state.tokens == len(history)
    with torch.no_grad():
        _, carry = trained.network_(torch.tensor([history]))
    for name, value in carry.items():
        torch.testing.assert_close(chat.state.carry[name], value, atol=1e-5, rtol=1e-5)


RESUMED = """
import sys, torch
from storyline import load
torch.set_num_threads(1)
chat = load(sys.argv[1]).resume_conversation(sys.argv[2])
for turn in ("nice day", "who am i?", "{Κ}"):
    print(chat.reply(turn, temperature=1.5))
chat.save(sys.argv[2])
"""


def test_a_transformer_keeps_its_window_and_no_more(attentive: Chatbot, tmp_path: Path) -> None:
    bot = Chatbot(**ATTENTIVE | {"window": 20, "max_steps": 2}).fit(introductions(50))
    chat = bot.conversation(seed=0)
    for _ in range(12):
        chat.reply("nice day", longest=5)
    kept = {name: value.shape[3] for name, value in chat.state.carry.items() if name != "read"}
    assert kept == {"cache_0": 19, "cache_1": 19}
    assert chat.state.carry["read"].item() == chat.state.tokens > 60
    # The state of a Transformer is kept in a file like any other.
    chat = attentive.conversation(seed=1)
    chat.reply("i am eve")
    chat.save(tmp_path / "chat.state")
    again = attentive.resume_conversation(tmp_path / "chat.state")
    assert [again.reply("who am i?", temperature=1.5) for _ in range(4)] == [
        chat.reply("who am i?", temperature=1.5) for _ in range(4)
    ]


@pytest.mark.parametrize("model", ["trained", "attentive"])
def test_a_search_finds_the_likeliest_reply(model: str, request: pytest.FixtureRequest) -> None:
    bot: Chatbot = request.getfixturevalue(model)
    chats = [bot.conversation(seed=0) for _ in range(3)]
    for turn in ("i am tom", "who am i?", "hello", "Κ"):
        # A beam of one is what is drawn without chance, and the state behind it is the same.
        greedy, single, wide = (
            chat.reply(turn, **how)
            for chat, how in zip(chats, ({"temperature": 0}, {"beam": 1}, {"beam": 6}), strict=True)
        )
        assert single == greedy
        assert chats[0].state.tokens == chats[1].state.tokens
        for name, value in chats[0].state.carry.items():
            torch.testing.assert_close(chats[1].state.carry[name], value, atol=1e-5, rtol=1e-5)
        if turn == "who am i?":
            assert wide == "tom"
    with pytest.raises(ValueError, match="beam draws nothing, so temperature"):
        chats[0].reply("hello", beam=2, top_k=3)
    with pytest.raises(ValueError, match="width is 0"):
        chats[0].reply("hello", beam=0)


def test_a_saved_conversation_goes_on_in_another_process(trained: Chatbot, tmp_path: Path) -> None:
    folder, file = tmp_path / "model", tmp_path / "chat.state"
    trained.save_pretrained(folder)
    chat = trained.conversation(seed=3)
    chat.reply("i am tom", temperature=1.5)
    chat.save(file)
    again = load(folder).resume_conversation(file)
    command = [sys.executable, "-c", RESUMED, str(folder), str(file)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    turns = ("nice day", "who am i?", "{Κ}")
    replies = [chat.reply(turn, temperature=1.5) for turn in turns]
    assert told == "".join(f"{reply}\n" for reply in replies)
    assert [again.reply(turn, temperature=1.5) for turn in turns] == replies
    state = trained.resume_conversation(file).state
    for each in (chat.state, again.state):
        assert (each.turns, each.tokens) == (state.turns, state.tokens) == (8, state.tokens)
        assert torch.equal(each.generator, state.generator)
        for name, value in state.carry.items():
            assert torch.equal(each.carry[name], value), name


@pytest.mark.parametrize("core", ["gru", "rnn"])
def test_any_core_goes_on_from_its_folder_and_file(core: str, tmp_path: Path) -> None:
    settings = SETTINGS | {"core": core, "num_layers": 2, "max_steps": 2, "learn_initial_state": True}
    bot = Chatbot(**settings, lowercase=True).fit(introductions(20))
    bot.save_pretrained(tmp_path / "model")
    chat = bot.conversation(seed=0)
    assert list(chat.state.carry) == ["h"]
    chat.reply("I am EVE", longest=9)
    chat.save(tmp_path / "chat.state")
    again = load(tmp_path / "model").resume_conversation(tmp_path / "chat.state")
    assert chat.reply("nice day", longest=9) == again.reply("Nice DAY", longest=9)


def test_a_file_that_is_no_such_conversation_is_refused(trained: Chatbot, tmp_path: Path) -> None:
    file = tmp_path / "chat.state"
    with pytest.raises(ArtifactError, match=r"chat.state does not exist; name a file"):
        trained.resume_conversation(file)
    trained.conversation(seed=0).save(file)
    sound = file.read_bytes()
    for broken, message in (
        (sound[:-9], "a damaged one"),
        (b"", "a damaged one"),
        (sound[:-200] + bytes(1) + sound[-199:], "was altered: its SHA-256"),
        (sound.replace(b'turns\\":0', b'turns\\":7').replace(b'turns\\": 0', b'turns\\": 7'), "was altered"),
        (sound.replace(b"storyline conversation", b"storyline conversatios"), "holds no conversation"),
    ):
        assert broken != sound
        file.write_bytes(broken)
        with pytest.raises(ArtifactError, match=message):
            trained.resume_conversation(file)
    file.write_bytes(sound)
    other = Chatbot(**SETTINGS | {"epochs": 1, "seed": 1}).fit(introductions(50))
    with pytest.raises(ArtifactError, match="a conversation with another model"):
        other.resume_conversation(file)
    with pytest.raises(ArtifactError, match="cannot be used"):
        trained.conversation().save(tmp_path)


def test_the_seed_decides_what_is_drawn(trained: Chatbot) -> None:
    def replies(seed: int | None) -> list[str]:
        chat = trained.conversation(seed=seed)
        return [chat.reply("nice day", temperature=1.5) for _ in range(8)]

    before = torch.get_rng_state()
    assert replies(1) == replies(1)
    assert replies(1) != replies(2)
    assert replies(None) != replies(None)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_reply_ends_where_it_must_and_never_before_it_begins(trained: Chatbot) -> None:
    chat = trained.conversation(seed=0)
    # After the last turn the dialogue is over for sure, but the user goes on.
    for turn in ("i am ann", "who am i?", "and now?"):
        assert chat.reply(turn, temperature=0)
    assert chat.last is not None
    assert not chat.last.cut
    assert len(trained.encoder_.encode(" " + chat.reply("nice day", longest=1))) == 1
    assert chat.last.cut


def test_an_interrupted_reply_leaves_the_conversation_as_it_was(
    trained: Chatbot, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat, twin = (trained.conversation(seed=5) for _ in range(2))
    step, calls = trained.network_.step, []

    def interrupted(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return step(*arguments)

    monkeypatch.setattr(trained.network_, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        chat.reply("nice day")
    monkeypatch.undo()
    assert chat.reply("nice day") == twin.reply("nice day")


def test_a_dialogue_is_scored_from_the_initial_state_whatever_stands_beside_it(trained: Chatbot) -> None:
    dialogues = [*introductions(5, seed=2), ["{"], ["Wer bin ich?", "Κατερίνα " * 300]]
    total = 0.0
    for dialogue in dialogues:
        ids = [2]
        for turn in dialogue:
            ids += [*trained.encoder_.encode(f" {turn.strip()}"), 2]
        ids.append(2)
        with torch.no_grad():
            output, _ = trained.network_(torch.tensor([ids[:-1]]))
            scores = trained.network_.head.log_probabilities(output[0]).double().numpy()
        own = -scores[np.arange(len(ids) - 1), ids[1:]].sum()
        assert trained.evaluate([dialogue])["nats"] * (len(ids) - 1) == pytest.approx(own, rel=1e-5)
        total += own
    result = trained.evaluate(dialogues)
    assert result["nats"] * result["n"] == pytest.approx(total, rel=1e-5)
    characters = sum(len(turn.strip()) for dialogue in dialogues for turn in dialogue)
    assert result["nats_per_character"] == pytest.approx(total / characters, rel=1e-5)
    assert trained.score(dialogues) == -result["nats"]


def test_long_dialogues_are_learned_in_parts_of_which_no_token_is_lost() -> None:
    long = [["hello there"] * 20, ["hi", "ho"]]
    settings = SETTINGS | {"longest": 16, "max_steps": 1, "max_vocabulary": 262}
    bot = Chatbot(**settings).fit(long)
    whole = Chatbot(**settings | {"longest": 5000}).fit(long)
    assert (bot.training_summary_["parts"], whole.training_summary_["parts"]) == (1, 0)
    assert bot.training_summary_["tokens"] == whole.training_summary_["tokens"] == bot.evaluate(long)["n"]


def test_saved_and_loaded_is_the_same(trained: Chatbot, tmp_path: Path) -> None:
    trained.save_pretrained(tmp_path)
    loaded = load(tmp_path)
    assert isinstance(loaded, Chatbot)
    assert loaded.evaluate(introductions(9, seed=3)) == trained.evaluate(introductions(9, seed=3))
    assert loaded.get_params() == trained.get_params()


def test_stopped_and_resumed_is_the_same(tmp_path: Path) -> None:
    settings = SETTINGS | {"epochs": 2, "checkpoint_every": 3, "validation_fraction": 0.1, "dropout": 0.2}
    dialogues = introductions(100)
    whole = Chatbot(**settings).fit(dialogues)

    def stop(event: object) -> None:
        if getattr(event, "step", 0) >= 7:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        Chatbot(**settings).fit(dialogues, folder=tmp_path, events=[stop])
    with pytest.raises(ValueError, match=r"began with other data \(X\)"):
        Chatbot(**settings).fit(dialogues[1:] + dialogues[:1], folder=tmp_path, resume=True)
    resumed = Chatbot(**settings).fit(dialogues, folder=tmp_path, resume=True)
    for name, value in whole.network_.state_dict().items():
        assert torch.equal(value, resumed.network_.state_dict()[name]), name


def test_the_weights_at_the_last_validations_are_averaged() -> None:
    settings = SETTINGS | {"schedule": "constant", "validation_fraction": 0.2, "restore_best": False}
    dialogues = introductions(20)
    one, two, mean = (
        Chatbot(**settings | more).fit(dialogues).network_.state_dict()
        for more in ({"epochs": 1}, {"epochs": 2}, {"epochs": 2, "average_last": 2})
    )
    for name, value in mean.items():
        torch.testing.assert_close(value, (one[name] + two[name]) / 2, msg=name)
    assert not torch.equal(one["head.bias"], two["head.bias"])
    with pytest.raises(ValueError, match="average_last=1; it must be greater than or equal to 2"):
        Chatbot(**settings | {"average_last": 1}).fit(dialogues)


def test_memory_probe_says_how_dialogues_were_learned(trained: Chatbot) -> None:
    dialogues = introductions(20, seed=4)
    probe = trained.memory_probe(dialogues)
    assert (probe.chunk, probe.reset_every) == (math.inf, math.inf)
    assert probe.trained_steps >= max(map(len, probe.inputs))
    parted = Chatbot(**SETTINGS | {"longest": 8, "epochs": 1, "max_steps": 2}).fit(dialogues)
    probe = parted.memory_probe(dialogues)
    assert (probe.chunk, probe.reset_every, probe.trained_steps) == (8, 8, 8)
    assert probe.settings["chunk"] == probe.settings["reset_at_most_every"] == "longest"


def test_memory_probe_measures_the_model(trained: Chatbot) -> None:
    dialogues = introductions(60, seed=4)
    probe = trained.memory_probe(dialogues, sample=300)
    lengths = torch.tensor([len(row) for row in probe.inputs])
    rows = torch.nn.utils.rnn.pad_sequence(list(probe.inputs), batch_first=True)
    with torch.no_grad():
        answers = probe.model(rows, lengths=lengths)
        alone = probe.model(probe.inputs[7][None])
    torch.testing.assert_close(answers[7:8], alone, atol=1e-5, rtol=1e-5)
    assert probe.unit == "subword"
    told = " ".join(" ".join(dialogue) for dialogue in dialogues)
    for words, answer in zip(probe.words, probe.targets.tolist(), strict=True):
        turns = "".join(words).replace("<end>", " ").split()
        assert " ".join(turns[:3]) in told
        assert answer in range(trained.encoder_.size)
    # What is foretold is what follows in the data, the name too: the model knows it, untrained it does not.
    names = {trained.encoder_.encode(f" {name}")[0] for name in NAMES}
    due = torch.tensor([answer in names for answer in probe.targets.tolist()])
    with torch.no_grad():
        right = (answers.argmax(1) == probe.targets)[due]
        untrained = (probe.initial(rows, lengths=lengths).argmax(1) == probe.targets)[due]
    assert due.sum() > 5
    assert right.float().mean() > 0.9 > 0.5 > untrained.float().mean()


@pytest.mark.parametrize(
    ("dialogues", "message"),
    [
        ("hello", "X is one string; give a list of dialogues"),
        ([], "X is empty; give at least one dialogue"),
        ([["a", "b"], "hello"], r"X\[1\] is one string; give a list of turns"),
        ([["a", "b"], 3], r"X\[1\] is of the type int; give a list of turns"),
        ([["a", "b"], []], r"X\[1\] is a dialogue without a turn; leave it out"),
        ([["a", " \n"]], r"X\[0\]\[1\] is an empty turn"),
        ([["a", None]], r"X\[0\]\[1\] is NoneType; every turn is a text"),
        ([["a", "\udc80"]], r"X\[0\]\[1\] holds '\\udc80'"),
        ([["a"], ["b"]], "none of the 2 dialogues has a second turn"),
    ],
)
def test_refuses_in_fit(dialogues: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Chatbot(**SETTINGS).fit(dialogues)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"core": "perceptron"}, "core='perceptron'"),
        ({"max_vocabulary": 100}, "max_vocabulary=100; it must be 259 or more"),
        ({"core": "transformer", "hidden_size": 30}, "hidden_size=30 is no multiple of num_heads=4"),
        ({"core": "transformer", "remember": 9}, "remember is for recurrent cores"),
        ({"longest": 0}, "longest=0"),
        ({"window": 9}, "window is for core='transformer', and core is 'lstm'"),
    ],
)
def test_refuses_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Chatbot(**SETTINGS | settings).fit(introductions(10))


def test_refuses_elsewhere(trained: Chatbot) -> None:
    with pytest.raises(ValueError, match="1 dialogue was given, which cannot be held out"):
        Chatbot(**SETTINGS | {"validation_fraction": 0.5}).fit(introductions(1))
    with pytest.raises(ValueError, match=r"validation\[0\]\[0\] is an empty turn"):
        Chatbot(**SETTINGS).fit(introductions(9), validation=[[""]])
    chat = trained.conversation(seed=0)
    for turn, settings, message in (
        ("", {}, "turn is an empty turn"),
        (None, {}, "turn is NoneType"),
        ("a", {"temperature": -1}, "temperature is -1"),
        ("a", {"longest": 0}, "longest is 0; it must be a whole number, 1 or more"),
    ):
        with pytest.raises(ValueError, match=message):
            chat.reply(turn, **settings)
    assert chat.state.turns == 0
    with pytest.raises(ValueError, match="seed is -1"):
        trained.conversation(seed=-1)


def test_a_single_turn_is_counted(trained: Chatbot) -> None:
    bot = Chatbot(**SETTINGS | {"max_steps": 1}).fit([["hello"], *introductions(5)])
    assert (bot.training_summary_["single"], trained.training_summary_["single"]) == (1, 0)
