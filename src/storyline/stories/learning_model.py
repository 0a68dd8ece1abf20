"""The model that learns a story: embedding, core, head; it reads from left to right and answers where it is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn

from storyline.layers import GRU, LSTM, RNN, SLSTM, Recurrent, StatePerturbation
from storyline.stories.examples import Examples
from storyline.stories.learning_transformer import CausalTransformer
from storyline.stories.story import Story

Core = Callable[[int], nn.Module]
CELLS = ("rnn", "gru", "lstm", "lstm_plain", "slstm", "transformer", "torch_lstm")
# Steps that are read at once where no gradient is wanted; the state goes on from piece to piece.
PIECE = 2_000


@final
class StoryModel(nn.Module):
    """Embedding (or real inputs) -> core -> linear head, for one story.

    core        (batch, time, input_size) -> (batch, time, hidden_size): a Recurrent or a torch.nn one, batch first,
                or a CausalTransformer
    sharpened   the factor that its gates have been sharpened by after training; 1: they have not
    log         what happened in training, a row of numbers a report; see `learn`
    """

    def __init__(self, story: Story, core: Core, embedding_size: int = 32) -> None:
        super().__init__()
        self.story = story
        words = len(story.vocabulary)
        self.embedding = None if story.channels else nn.Embedding(words, embedding_size)
        self.core = core(story.channels or embedding_size)
        self.head = nn.Linear(int(self.core.hidden_size), len(story.classes) or 1)  # type: ignore[arg-type]
        self.sharpened = 1.0
        self.log: list[dict[str, float]] = []

    def forward(
        self, examples: Examples, perturbation: StatePerturbation | None = None, pieces: int = PIECE
    ) -> Tensor:
        """What the head says at every question: (questions, classes), or (questions, 1) where the answer is a number.

        pieces        the steps that the core reads at once; with a perturbation the mean of a random number of steps
        perturbation  what the state suffers between two pieces
        """
        given = examples.values if self.embedding is None else examples.tokens
        assert given is not None
        input = torch.from_numpy(given)
        rows, steps = torch.from_numpy(examples.question_rows), torch.from_numpy(examples.question_steps)
        if not isinstance(self.core, nn.RNNBase):
            read = input if self.embedding is None else self.embedding(input)
            return torch.as_tensor(self.head(self.core(read)[rows, steps]))
        state, start, time = None, 0, input.shape[1]
        asked, order = list[Tensor](), list[Tensor]()
        while start < time:
            stop = start + (pieces if perturbation is None else _drawn(pieces))
            piece = input[:, start:stop]
            # A row that has ended reads on from the padding: what comes after its last question is never used.
            output, after = self.core(piece if self.embedding is None else self.embedding(piece), state)
            here = torch.nonzero((steps >= start) & (steps < stop))[:, 0]
            asked.append(output[rows[here], steps[here] - start])
            order.append(here)
            if perturbation is not None:
                assert isinstance(self.core, Recurrent)
                after = perturbation(self.core, after, state)
            state, start = after, stop
        found = torch.empty_like(torch.cat(order)).scatter_(0, torch.cat(order), torch.arange(len(rows)))
        return torch.as_tensor(self.head(torch.cat(asked)[found]))

    @torch.no_grad()
    def answers(self, examples: Examples) -> np.ndarray:
        """The answer to every question: (questions,) int64 in `classes`, or float32 where the answer is a number."""
        said = self(examples)
        return np.asarray((said.argmax(-1) if self.story.classes else said[:, 0]).numpy())

    def right(self, examples: Examples) -> np.ndarray:
        """(questions,) bool: which questions are answered rightly; a number within the kind's tolerance."""
        return judged(self.story, examples, self.answers(examples))


def judged(story: Story, examples: Examples, answers: np.ndarray) -> np.ndarray:
    """(questions,) bool: which of `answers` are right."""
    if story.classes:
        return np.asarray(answers == examples.answers)
    return np.asarray(np.abs(answers - examples.numbers) < story.kind.tolerance)


def core_of(cell: str | Core, hidden_size: int, remember: int) -> Core:
    """The core by the name of its cell, or the user's own function of the input size.

    lstm is the LSTM with coupled gates: its c stays between -1 and 1 however long the story, where the c of the plain
    one (lstm_plain) grows without bound. These and rnn, gru and slstm are initialised to remember `remember` steps;
    torch_lstm is torch.nn.LSTM as it comes, and its state is never perturbed. The Transformer has two layers of
    `hidden_size`.
    Raises ValueError for an unknown name.
    """
    if not isinstance(cell, str):
        return cell
    settings: dict[str, Any] = {"batch_first": True, "remember": max(3, remember)}
    cores: dict[str, Core] = {
        "rnn": lambda size: RNN(size, hidden_size, **settings),
        "gru": lambda size: GRU(size, hidden_size, **settings),
        "lstm": lambda size: LSTM(size, hidden_size, coupled_gates=True, **settings),
        "lstm_plain": lambda size: LSTM(size, hidden_size, **settings),
        "slstm": lambda size: SLSTM(size, hidden_size, **settings),
        "torch_lstm": lambda size: nn.LSTM(size, hidden_size, batch_first=True),
        "transformer": lambda size: CausalTransformer(size, hidden_size),
    }
    if cell not in cores:
        raise ValueError(f"{cell!r} is no cell to learn with; take one of {', '.join(cores)}, or give a function "
                         "from the input size to a module")  # fmt: skip
    return cores[cell]


def _drawn(mean: int) -> int:
    """A number of steps, uniform on 1/10 to 19/10 of the mean, from torch's global generator."""
    least = max(1, mean // 10)
    return int(torch.randint(least, max(least, 2 * mean - least) + 1, ()))
