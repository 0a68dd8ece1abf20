"""Stories with two facts in them, both asked at the end, and an LSTM that was trained to answer."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from storyline import LSTM
from storyline.memory.inside.forgetting import Forgetting

VALUES, FILLING, SIZE = 4, 4, 32
CHANNELS = 2 * VALUES + FILLING + 2


def stories(count: int, steps: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(input (count, steps, channels), facts (count, 2), where they stand (count, 2), which is asked first (count,)).

    Each fact is one of 4 values; both stand within the first 6 steps, in any order, filling behind them, and the two
    questions, in any order, at the end.
    """
    random = torch.Generator().manual_seed(seed)
    tokens = torch.randint(2 * VALUES, 2 * VALUES + FILLING, (count, steps), generator=random)
    facts = torch.randint(0, VALUES, (count, 2), generator=random)
    places = torch.rand(count, 6, generator=random).argsort(1)[:, :2]
    first = torch.randint(0, 2, (count,), generator=random)
    tokens.scatter_(1, places, facts + torch.tensor([0, VALUES]))
    tokens[:, -2:] = 2 * VALUES + FILLING + torch.stack([first, 1 - first], 1)
    return functional.one_hot(tokens, CHANNELS).float(), facts, places, first


def words(row: Tensor) -> list[str]:
    """The tokens of one story (steps, channels)."""
    names = [f"{kind}{value}" for kind in "AB" for value in range(VALUES)]
    names += [f"filling{value}" for value in range(FILLING)] + ["A?", "B?"]
    return [names[token] for token in row.argmax(-1).tolist()]


def trained(seed: int, longest: int, updates: int) -> tuple[LSTM, nn.Linear]:
    """Trained on stories of 12 to ``longest`` steps."""
    torch.manual_seed(seed)
    lstm, head = LSTM(CHANNELS, SIZE, batch_first=True, remember=longest), nn.Linear(SIZE, VALUES)
    optimizer = torch.optim.Adam([*lstm.parameters(), *head.parameters()], 1e-2)
    lengths = torch.randint(12, longest + 1, (updates,), generator=torch.Generator().manual_seed(seed))
    for update, steps in enumerate(lengths.tolist()):
        x, facts, _, first = stories(64, steps, 10_000 * (seed + 1) + update)
        asked = torch.where(first[:, None] == 0, facts, facts.flip(1))
        loss = functional.cross_entropy(head(lstm(x)[0][:, -2:]).flatten(0, 1), asked.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(lstm.parameters(), 1.0)
        optimizer.step()
    return lstm, head


@torch.no_grad()
def accuracies(
    lstm: nn.RNNBase, head: nn.Linear, steps: int, edited: int, forgetting: Forgetting | None
) -> list[float]:
    """Share of right answers to each fact, on 4,000 new stories whose state is edited before step ``edited``."""
    x, facts, _, first = stories(4000, steps, 1)
    _, state = lstm(x[:, :edited])
    answers = head(lstm(x[:, edited:], state if forgetting is None else forgetting(state))[0][:, -2:]).argmax(
        -1
    )
    answers = torch.where(first[:, None] == 0, answers, answers.flip(1))
    return (answers == facts).float().mean(0).tolist()
