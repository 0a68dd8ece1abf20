"""Learning a story: what it reaches, what fixes it, and that reading in pieces changes nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from storyline.layers import LSTM
from storyline.layers.state_perturbation import StatePerturbation
from storyline.stories import Story, learning
from storyline.stories.examples import Examples
from storyline.stories.learning import Learning, learn
from storyline.stories.learning_model import CELLS, StoryModel, core_of
from storyline.stories.learning_transformer import CausalTransformer

QUICK = Learning(seconds=None, batches=4, hidden_size=8, batch_steps=64, sharpen_rows=2)
PARTY = Story("party", distance=60)


def test_parity_is_learned_at_12_and_right_at_2000() -> None:
    story = Story("parity", distance=12)
    settings = Learning(seconds=None, batches=450, hidden_size=48, learning_rate=0.01, batch_steps=3_000)
    model = learn(story, "lstm", 0, settings)
    assert model.log[-1]["distance"] == 12
    assert model.right(story.batch(100, "test", distance=2_000)).all()


def test_what_is_easy_ends_early_and_not_without_a_rest() -> None:
    story = Story("parity", distance=1)
    quick = Learning(seconds=None, batches=200, hidden_size=16, learning_rate=0.02, rest=1.0)
    learned, whole = learn(story, "gru", 0, quick).log, learn(story, "gru", 0, replace(quick, rest=None)).log
    # An average that begins at 0 is above .9 after 22 batches at the earliest: 1 - .9^22 = .902.
    assert 44 <= learned[-1]["batch"] < 200
    assert whole[-1]["batch"] == 200


def test_the_variety_of_facts_grows_before_their_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is always right sees 1, 2, 3, 4, 6, 8, 11 and 15 of 15 varieties, then longer distances."""
    story, told = Story("anna", distance=80), list[tuple[int, int | None]]()
    batch = Story.batch

    def listened(self: Story, *asked: Any, distance: int, variety: int | None = None) -> Examples:
        told.append((distance, variety))
        return batch(self, *asked, distance=distance, variety=variety)

    monkeypatch.setattr(Story, "batch", listened)
    monkeypatch.setattr(learning, "judged", lambda story, examples, answers: np.ones(len(answers), bool))
    settings = replace(QUICK, batches=150, rest=None, sharpenings=(1.0,), perturbation=None)
    log = learn(story, "rnn", 0, settings).log
    told = told[:150]  # what follows are questions of validation
    assert list(dict.fromkeys(variety for _, variety in told)) == [1, 2, 3, 4, 6, 8, 11, None]
    assert {distance for distance, variety in told if variety} == {2}
    assert told[-1][0] > 2
    assert [row["variety"] for row in log][::2] == [4, 15]
    told.clear()
    learn(story, "rnn", 0, replace(settings, batches=2, variety=False))
    assert told[0] == (2, None)


def test_a_seed_fixes_the_model_and_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    first, same, other = (learn(PARTY, "lstm", seed, QUICK).head.weight for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_learns_in_the_same_way(cell: str) -> None:
    model = learn(PARTY, cell, 0, QUICK)
    examples = PARTY.batch(3, "validation", 0)
    assert model.right(examples).shape == examples.answers.shape
    assert not model.training
    assert model.log[-1]["batch"] == 4


@pytest.mark.parametrize("cell", ["lstm", "gru", "slstm", "rnn"])
def test_reading_in_pieces_is_reading_whole(cell: str) -> None:
    torch.manual_seed(0)
    story = replace(PARTY, facts=2)
    model, examples = StoryModel(story, core_of(cell, 8, 60)), story.batch(5, distance=(10, 60))
    torch.testing.assert_close(model(examples, pieces=7), model(examples))
    still = StatePerturbation(noise=0, shrinkage=0, drift=0)
    torch.testing.assert_close(model(examples, still, pieces=7), model(examples))


def test_padding_and_other_rows_do_not_change_an_answer() -> None:
    torch.manual_seed(0)
    model = StoryModel(PARTY, core_of("transformer", 8, 60))
    alone = model(PARTY.batch(1, rng=3, distance=10))
    examples = PARTY.batch(1, rng=3, distance=10)
    padded = replace(examples, tokens=np.pad(examples.tokens, ((0, 0), (0, 50))))
    torch.testing.assert_close(model(padded), alone)


def test_the_transformer_is_causal_and_blocks_change_nothing() -> None:
    torch.manual_seed(0)
    model, input = CausalTransformer(3, 8).eval(), torch.randn(2, 600, 3)
    whole = model(input)
    with torch.no_grad():
        torch.testing.assert_close(model(input), whole)  # in blocks of 256 where no gradient is wanted
    changed = input.clone()
    changed[:, 300:] = 0
    torch.testing.assert_close(model(changed)[:, :300], whole[:, :300])
    assert not torch.allclose(model(changed)[:, 301:], whole[:, 301:])
    with pytest.raises(ValueError, match="hidden_size is 6, no multiple of num_heads=4"):
        CausalTransformer(3, 6)


def test_keys_too_far_for_a_slope_weigh_nothing() -> None:
    """Without gradients they are left out, and must be out of reach: also of queries and keys that shout."""
    torch.manual_seed(0)
    model, input = CausalTransformer(3, 8).eval(), torch.randn(1, 2_000, 3)
    for loud in (1.0, 12.0):
        with torch.no_grad():
            model.layers[0].project.weight.mul_(loud)
            cut = model(input)
        torch.testing.assert_close(cut, model(input), rtol=0, atol=2e-6)


def test_a_module_of_torch_learns_too_and_a_number_is_never_perturbed() -> None:
    story = Story("adding", distance=20)
    model = learn(story, lambda size: nn.LSTM(size, 64, batch_first=True), 0, QUICK)
    assert type(model.core) is nn.LSTM
    assert model.answers(story.batch(3)).dtype == np.float32
    still = replace(QUICK, perturbation=None)
    for one, other in zip(
        learn(story, "lstm", 0, QUICK).parameters(), learn(story, "lstm", 0, still).parameters(), strict=True
    ):
        assert torch.equal(one, other)


def test_sharpening_is_chosen_by_validation_and_applied() -> None:
    plain = learn(PARTY, "lstm", 0, replace(QUICK, sharpenings=(1.0,)))
    sharp = learn(PARTY, "lstm", 0, replace(QUICK, sharpenings=(2.0,)))
    assert (plain.sharpened, sharp.sharpened) == (1.0, 2.0)
    assert isinstance(sharp.core, LSTM)
    size = sharp.core.hidden_size
    assert torch.equal(sharp.core.weight_hh_l0[:size], 2 * plain.core.weight_hh_l0[:size])  # type: ignore[operator, index]
    assert torch.equal(sharp.core.weight_hh_l0[size:], plain.core.weight_hh_l0[size:])  # type: ignore[index]


def test_refusals() -> None:
    with pytest.raises(ValueError, match="'lstn' is no cell to learn with; take one of rnn, gru, lstm"):
        learn(PARTY, "lstn", 0, QUICK)
    with pytest.raises(ValueError, match="give one of them, the other None"):
        Learning(seconds=5, batches=5)
    with pytest.raises(ValueError, match="hidden_size is 0; it must be greater than 0"):
        Learning(hidden_size=0)
    with pytest.raises(ValueError, match="sharpenings is empty"):
        Learning(sharpenings=())
