"""A chatbot that keeps the phrases of its dialogues foretells those, and elsewhere what its network does."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from introductions import SETTINGS

from storyline.tasks import Chatbot, load

SAYINGS = [
    ["what is this life if", "full of care , we have no time"],
    ["to see a world in", "a grain of sand and a heaven in a wild flower"],
    ["the woods are lovely ,", "dark and deep , but i have promises to keep"],
]
BRIEF: dict[str, Any] = SETTINGS | {"max_steps": 20, "hidden_size": 16, "validation_fraction": 0.3}


def talks(n: int, seed: int = 0) -> list[list[str]]:
    """Dialogues of which one in two is a saying, the others words in any order."""
    generator = np.random.default_rng(seed)
    words = sorted({word for saying in SAYINGS for turn in saying for word in turn.split()})

    def one() -> list[str]:
        if generator.random() < 0.5:
            return SAYINGS[generator.integers(len(SAYINGS))]
        return [" ".join(generator.choice(words, size=6)) for _ in range(2)]

    return [one() for _ in range(n)]


@pytest.fixture(scope="module")
def keeping() -> Chatbot:
    return Chatbot(**BRIEF, phrases=8).fit(talks(200))


def test_what_was_read_is_foretold_and_what_was_not_costs_hardly_more(keeping: Chatbot) -> None:
    without = Chatbot(**BRIEF).fit(talks(200))
    new = [talk for talk in talks(80, seed=1) if talk not in SAYINGS]
    assert keeping.evaluate(SAYINGS)["nats"] < 0.25 * without.evaluate(SAYINGS)["nats"]
    assert keeping.evaluate(new)["nats"] < without.evaluate(new)["nats"]
    # The network is the same one.
    for found, wanted in zip(keeping.surprisal(new, alone=True), without.surprisal(new), strict=True):
        assert np.array_equal(found, wanted)
    for said, reply in SAYINGS:
        assert keeping.conversation().reply(said, temperature=0) == reply
        assert keeping.conversation().reply(said, beam=1) == reply


def test_a_dialogue_costs_what_its_steps_do(keeping: Chatbot) -> None:
    for talk in (SAYINGS[0], *talks(4, seed=2), ["wer bin ich ?"]):
        ids = [2, *[token for turn in talk for token in (*keeping.encoder_.encode(f" {turn}"), 2)], 2]
        carry, costs = keeping.network_.initial_carry(1), []
        with torch.no_grad():
            for token, following in pairwise(ids):
                scores, carry = keeping.network_.step(torch.tensor([token]), carry)
                assert float(scores.exp().sum()) == pytest.approx(1, abs=1e-5)
                costs.append(-float(scores[0, following]))
            # Read in one piece, and in two, the state is the same.
            for cut in (3, len(ids) - 2):
                _, half = keeping.network_(torch.tensor([ids[:cut]]))
                _, whole = keeping.network_(torch.tensor([ids[cut:-1]]), half)
                assert torch.equal(whole["phrases"], carry["phrases"])
        (found,) = keeping.surprisal([talk])
        assert found == pytest.approx(costs, abs=1e-4)


def test_a_conversation_goes_on_from_its_files(keeping: Chatbot, tmp_path: Path) -> None:
    keeping.save_pretrained(tmp_path / "model")
    chat = keeping.conversation(seed=0)
    size = {name: value.shape for name, value in chat.state.carry.items()}
    chat.reply("to see a world")
    chat.save(tmp_path / "chat.state")
    loaded = load(tmp_path / "model")
    again = loaded.resume_conversation(tmp_path / "chat.state")
    for turn in ("the woods are", "what is this life if", "{"):
        assert again.reply(turn) == chat.reply(turn)
    assert {name: value.shape for name, value in chat.state.carry.items()} == size
    assert loaded.evaluate(talks(5, seed=3)) == keeping.evaluate(talks(5, seed=3))


def test_phrases_need_held_out_dialogues() -> None:
    with pytest.raises(ValueError, match="phrases=8 needs held-out dialogues"):
        Chatbot(**BRIEF | {"validation_fraction": 0.0}, phrases=8).fit(talks(20))
    for size in (0, 65):
        with pytest.raises(ValueError, match=f"phrases={size}; it must be"):
            Chatbot(**BRIEF, phrases=size).fit(talks(20))
