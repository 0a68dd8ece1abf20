"""Facts erased from a state: by the algebra, and from a network that was trained to answer two of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from benchmarks.memory.two_facts import CHANNELS, SIZE, VALUES, accuracies, stories
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from torch import nn
from torch.nn import functional

from storyline.layers import SLSTM
from storyline.memory import MeasureError
from storyline.memory.inside.fact_states import Fact, states_at
from storyline.memory.inside.forgetting import forget

STEPS, EDITED = 14, 9


def trained(seed: int) -> tuple[nn.LSTM, nn.Linear]:
    torch.manual_seed(seed)
    lstm, head = nn.LSTM(CHANNELS, SIZE, batch_first=True), nn.Linear(SIZE, VALUES)
    with torch.no_grad():
        lstm.bias_ih_l0[SIZE : 2 * SIZE] = 2
    optimizer = torch.optim.Adam([*lstm.parameters(), *head.parameters()], 1e-2)
    for step in range(350):
        x, facts, _, first = stories(64, STEPS, 1000 * seed + step)
        asked = torch.stack([facts.gather(1, first[:, None]), facts.gather(1, 1 - first[:, None])], 1)[..., 0]
        loss = functional.cross_entropy(head(lstm(x)[0][:, -2:]).flatten(0, 1), asked.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(lstm.parameters(), 1.0)
        optimizer.step()
    return lstm, head


@pytest.mark.parametrize("seed", [1, 2])
def test_a_trained_network_forgets_one_fact_and_keeps_the_other(seed: int) -> None:
    lstm, head = trained(seed)
    before = accuracies(lstm, head, STEPS, EDITED, None)
    assert min(before) > 0.98
    x, facts, _, _ = stories(1500, STEPS, 55)
    # The state that is edited is the same in all, though the facts stand at different places: lag 0 from the last step
    # before it.
    both = [Fact(x, facts[:, k], EDITED - 1, name=f"fact {k + 1}") for k in (0, 1)]
    for k in (0, 1):
        after = accuracies(lstm, head, STEPS, EDITED, forget(lstm, both[k], [0], keep=[both[1 - k]]))
        assert after[k] == pytest.approx(1 / VALUES, abs=0.05)
        assert after[1 - k] == pytest.approx(before[1 - k], abs=0.02)


def sample(kind: type[nn.Module] = nn.LSTM, **settings) -> tuple[nn.Module, Fact, Fact]:
    """An untrained layer that reads two facts, of three classes and of two, at its first step."""
    torch.manual_seed(0)
    layer = kind(4, 5, batch_first=True, **settings).double()
    x = torch.randn(400, 6, 4, dtype=torch.float64)
    one, two = torch.randint(0, 3, (400,)), torch.randint(0, 2, (400,))
    x[:, 0, 0] += 4 * one
    x[:, 0, 1] += 4 * two
    return layer, Fact(x, one, 0, name="the one"), Fact(x, two, 0, name="the other")


@pytest.mark.parametrize("settings", [{}, {"num_layers": 2, "proj_size": 3}], ids=["", "stacked"])
def test_class_means_are_made_one_and_those_kept_stay(settings: dict) -> None:
    layer, one, two = sample(**settings)
    _, state = layer(one.inputs[:, :3])
    flat = torch.cat([each.transpose(0, 1).flatten(1) for each in state], 1).detach()
    for keep in ([], [two]):
        erase = forget(layer, one, [2], keep)
        assert erase.directions == (4 if keep else 2)
        edited = erase(state)
        assert [each.shape for each in edited] == [each.shape for each in state]
        after = torch.cat([each.transpose(0, 1).flatten(1) for each in edited], 1).detach()
        means = torch.stack([after[torch.as_tensor(one.answers == k)].mean(0) for k in range(3)])
        if not keep:
            torch.testing.assert_close(means, flat.mean(0).expand(3, -1), rtol=0, atol=1e-12)
        else:
            # by pairs, since they are not quite independent in a sample: only what the other says is left
            means = torch.stack([torch.stack([
                after[torch.as_tensor((one.answers == k) & (two.answers == j))].mean(0) for k in range(3)])
                for j in (0, 1)])  # fmt: skip
            torch.testing.assert_close(means, means[:, :1].expand(-1, 3, -1), rtol=0, atol=1e-12)
            kept, were = (
                [each[torch.as_tensor(two.answers == j)].mean(0) for j in (0, 1)] for each in (after, flat)
            )
            torch.testing.assert_close(kept, were, rtol=0, atol=1e-12)
        again = torch.cat([each.transpose(0, 1).flatten(1) for each in erase(edited)], 1).detach()
        torch.testing.assert_close(again, after, rtol=0, atol=1e-12)  # a projection


def test_no_readout_of_scikit_learn_finds_it() -> None:
    layer, one, two = sample()
    values = torch.from_numpy(states_at(layer, one, [0], "hc")[0][0])
    edited = forget(layer, one, [0])((values[None, :, :5], values[None, :, 5:]))
    edited = torch.cat(edited, -1)[0].numpy()
    chance = np.bincount(one.answers).max() / 400
    assert (
        LogisticRegression(C=1e4, max_iter=5000).fit(values, one.answers).score(values, one.answers)
        > chance + 0.2
    )
    # The best readout is a constant, whose loss is the entropy of the classes.
    share = np.bincount(one.answers) / 400
    blind = LogisticRegression(C=1e4, max_iter=5000).fit(edited, one.answers)
    assert log_loss(one.answers, blind.predict_proba(edited)) == pytest.approx(
        -share @ np.log(share), rel=1e-6
    )
    seen = LogisticRegression(C=1e4, max_iter=5000)
    assert seen.fit(edited, two.answers).score(edited, two.answers) == pytest.approx(
        seen.fit(values, two.answers).score(values, two.answers), abs=0.03
    )


def test_a_number_goes_by_one_direction_and_gradients_pass() -> None:
    layer, one, _ = sample(nn.GRU)
    erase = forget(layer, Fact(one.inputs, one.inputs[:, 0, 0], 0), [1, 2])
    assert erase.directions == 1
    state = torch.randn(1, 5, dtype=torch.float64, requires_grad=True)
    erase(state).sum().backward()
    wanted = np.eye(5) - erase.left @ erase.right
    np.testing.assert_allclose(state.grad.numpy()[0], wanted.sum(0), atol=1e-12)


def test_refusals() -> None:
    layer, one, two = sample()
    with pytest.raises(MeasureError, match="the layer is bidirectional, so no single state is handed on"):
        forget(nn.GRU(4, 5, bidirectional=True), one, [1])
    with pytest.raises(MeasureError, match="the states of slstm are h, c, n, m, some of which weigh others"):
        forget(SLSTM(4, 4), one, [1])
    with pytest.raises(MeasureError, match="the other has 10 labels and the one 400"):
        forget(layer, one, [1], [Fact(two.inputs[:10], two.answers[:10], 0, name="the other")])
    nearly = np.where(np.arange(400) == 0, 1 - two.answers, two.answers)
    with pytest.raises(
        MeasureError, match="in these sequences the other goes with its double, so that one cannot"
    ):
        forget(layer, two, [1], [Fact(two.inputs, nearly, 0, name="its double")])
    with pytest.raises(MeasureError, match="in the state the one goes with the other, so that one cannot"):
        forget(nn.RNN(4, 1, batch_first=True).double(), one, [1], [two])
    still = nn.LSTM(4, 5, batch_first=True).double()
    for each in still.parameters():
        nn.init.zeros_(each)
    with pytest.raises(MeasureError, match=r"the state after lags \[0\] holds nothing of the one"):
        forget(still, one, [0])
    erase = forget(layer, one, [1])
    with pytest.raises(
        MeasureError, match=r"the state has the shapes \[\(1, 7, 5\)\]; \(layers, batch, size\)"
    ):
        erase(torch.zeros(1, 7, 5))
