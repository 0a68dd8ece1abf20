"""A small GRU as a probe: one that is trained on contexts of all lengths tells the loss at each of them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from storyline.layers import GRU
from storyline.memory.measures.curve import Array
from storyline.memory.need.linear_probes import goal_of, step_features
from storyline.memory.need.need_questions import NeedQuestions

_HIDDEN, _RATE = 32, 1e-2
# Sequences a batch: 64, of long contexts fewer, but 16.
_BATCH, _FEWEST, _STEPS = 64, 16, 1 << 15


class RecurrentProbe:
    """A GRU of 32 units, initialised to remember the longest context, trained for so many updates.

    Half of its batches show all of the context, the others the last k steps with k drawn from the lengths that are
    looked at, so that one training serves every k. Losses as for `LinearProbes`. The global generator is not touched.
    """

    def __init__(
        self, questions: NeedQuestions, fitted: NDArray[np.bool_], grid: list[int], updates: int, seed: int
    ) -> None:
        self.questions, self.fit = questions, fitted[questions.row]
        self.features = step_features(questions, fitted)
        self.goal = torch.as_tensor(goal_of(questions, self.fit), dtype=torch.float32)
        self.values = torch.as_tensor(self.features.values, dtype=torch.float32)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.layer = GRU(
                self.values.shape[2], _HIDDEN, batch_first=True, remember=max(3, questions.longest)
            )
            self.head = nn.Linear(_HIDDEN, self.goal.shape[1])
        with torch.enable_grad():
            self._train(grid, updates, np.random.default_rng(seed))
        self.layer.eval()

    @property
    def names(self) -> list[str]:
        """Of the one candidate."""
        return ["recurrent"]

    def losses(self, k: int) -> Array:
        """(1, held-out questions): the loss with a context of k steps."""
        asked = np.flatnonzero(~self.fit)
        size = max(1, (1 << 17) // k)
        with torch.no_grad():
            found = [self._loss(asked[i : i + size], k).double() for i in range(0, len(asked), size)]
        return torch.cat(found).numpy()[None]

    def _loss(self, chosen: NDArray[np.int64], k: int) -> Tensor:
        rows = torch.as_tensor(self.questions.row[chosen])
        steps = torch.as_tensor(self.questions.step[chosen])
        # a sequence shorter than k is shown from its first step on, without what was put before it
        lengths = torch.clamp(steps + 1, max=k)
        places = (steps + 1 - lengths + self.features.pad)[:, None] + torch.arange(k)
        shown = self.values[rows[:, None], places.clamp(max=self.values.shape[1] - 1)]
        output, _ = self.layer(shown, lengths=lengths)
        answers = self.head(output[torch.arange(len(rows)), lengths - 1])
        if self.questions.classes:
            labels = torch.as_tensor(self.questions.targets[chosen])
            return nn.functional.cross_entropy(answers, labels, reduction="none")
        away: Tensor = (answers - self.goal[torch.as_tensor(chosen)]).square().mean(1)
        return away

    def _train(self, grid: list[int], updates: int, generator: np.random.Generator) -> None:
        known = np.flatnonzero(self.fit)
        parameters = [*self.layer.parameters(), *self.head.parameters()]
        adam = torch.optim.Adam(parameters, lr=_RATE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(adam, _RATE, total_steps=updates + 1, pct_start=0.1)
        for update in range(updates):
            k = self.questions.longest if update % 2 else int(generator.choice(grid))
            size = min(_BATCH, max(_FEWEST, _STEPS // k), len(known))
            loss = self._loss(generator.choice(known, size, replace=False), k).mean()
            adam.zero_grad()
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(parameters, 1.0)
            adam.step()
            schedule.step()
