"""A task whose memory is known by taking the past away: a marked bit must be told some steps later."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from storyline import LSTM


class Recaller(nn.Module):
    """(batch, time, 2) -> (batch, time, 1), the logit of the marked bit."""

    def __init__(self, hidden_size: int, remember: int) -> None:
        super().__init__()
        self.layer = LSTM(2, hidden_size, batch_first=True, remember=remember)
        self.head = nn.Linear(hidden_size, 1)

    def forward(self, input: Tensor) -> Tensor:
        logits: Tensor = self.head(self.layer(input)[0])
        return logits


@dataclass(frozen=True)
class MarkedBit:
    """Random signs; the one that is marked `lag` steps before the end is the answer at the end.

    lag    how far back the marked sign stands
    steps  length of a sequence
    """

    lag: int
    steps: int

    def draw(
        self, sequences: int, generator: torch.Generator, steps: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Inputs (sequences, steps, 2), sign and mark, and answers (sequences,) of 0 and 1, int64."""
        steps = steps or self.steps
        inputs = self.noise(sequences, steps, generator)
        place = steps - 1 - self.lag
        inputs[:, place, 1] = 1.0
        return inputs, (inputs[:, place, 0] > 0).long()

    @staticmethod
    def noise(sequences: int, steps: int, generator: torch.Generator) -> Tensor:
        """Signs without a mark, (sequences, steps, 2)."""
        signs = torch.randint(0, 2, (sequences, steps), generator=generator) * 2.0 - 1.0
        return torch.stack([signs, torch.zeros_like(signs)], 2)

    def train(self, seed: int, hidden_size: int = 24, updates: int = 1000) -> Recaller:
        """An LSTM that has learned it: Adam at .01, 64 fresh sequences an update, until 200 losses in a row < .01.

        A batch has lag + 1 steps or more, so that the mark may stand at the first step too: one that never saw it there
        wants some steps before it, and uses more context than the task does.
        """
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(seed)
        model = Recaller(hidden_size, remember=2 * self.lag)
        adam = torch.optim.Adam(model.parameters(), lr=1e-2)
        low = 0
        for _ in range(updates):
            steps = int(torch.randint(self.lag + 1, self.steps + 1, (), generator=generator))
            inputs, answers = self.draw(64, generator, steps)
            loss = nn.functional.binary_cross_entropy_with_logits(model(inputs)[:, -1, 0], answers.float())
            adam.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            adam.step()
            low = low + 1 if loss.item() < 0.01 else 0
            if low == 200:
                break
        return model.eval()

    def ablated(self, model: Recaller, generator: torch.Generator, sequences: int = 512) -> int | None:
        """The largest k for which noise in the place of all that lies k or more steps back hurts; None: untrained.

        It hurts where the accuracy falls by more than 5 points.
        """
        inputs, answers = self.draw(sequences, generator)

        def accuracy(shown: Tensor) -> float:
            with torch.no_grad():
                return float(((model(shown)[:, -1, 0] > 0).long() == answers).float().mean())

        whole = accuracy(inputs)
        if whole < 0.98:
            return None
        hurt = 0
        for k in range(1, self.steps):
            fresh = self.noise(sequences, self.steps - k, generator)
            if accuracy(torch.cat([fresh, inputs[:, self.steps - k :]], 1)) < whole - 0.05:
                hurt = k
        return hurt
