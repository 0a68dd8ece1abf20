"""Learning a story: from short distances to long ones, with a state that is disturbed on the way."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from storyline.layers import Recurrent, StatePerturbation, sharpen
from storyline.stories.examples import Examples
from storyline.stories.learning_model import Core, StoryModel, core_of, judged
from storyline.stories.story import Story
from storyline.training import Curriculum


@dataclass(frozen=True)
class Learning:
    """How a story is learned; the same for every story and every cell.

    seconds          the most seconds of this machine that training takes; None where `batches` says it
    batches          the most batches, which makes a run repeatable; None where `seconds` says it
    hidden_size      of the core
    embedding_size   of a word
    learning_rate    of Adam (Kingma and Ba 2015); falls linearly to a fiftieth over the last `cooling` of the budget.
                     None: .004, and .001 for a Transformer, which learns less at .004
    cooling          share of the budget, 0 to 1
    rest             training ends before the budget does when it has gone on, after 90 % were right at the full
                     distance, for `rest` times as long as the way there took; None: the budget is always used up
    clip             the greatest norm of the gradient
    batch_steps      steps in a batch, so that short stories come in larger batches: 32 to 64 rows
    curriculum       begin at a fortieth of story.distance and lengthen by a third at 90 % right (`Curriculum`); at the
                     end every distance up to story.distance is drawn. False: story.distance from the beginning
    variety          before the distance is lengthened, begin with the first of the kind's `varieties` (few names and
                     traits, few notes) and admit a third more at 90 % right: which of the facts answers the question is
                     found where few come often, and not where many come seldom. False: all from the beginning
    perturbation     what the state of a recurrent core suffers (`StatePerturbation`), growing with the curriculum;
                     None: nothing. Never where the answer is a number: a number read off a disturbed state is wrong
    pieces           a story of the full distance is read in about that many pieces, perturbed in between
    sharpenings      after training the gates are sharpened by that one of these factors which answers most questions
                     of validation stories rightly, at story.distance and at sharpen_distance together (`sharpen`); the
                     least of equals. Chosen, not trained. (1.0,): as trained
    sharpen_distance None: 50 times story.distance where prose fills the story, else ten times
    sharpen_rows     validation stories at each of the two distances
    """

    seconds: float | None = 180.0
    batches: int | None = None
    hidden_size: int = 96
    embedding_size: int = 32
    learning_rate: float | None = None
    cooling: float = 0.35
    rest: float | None = 3.0
    clip: float = 1.0
    batch_steps: int = 12_000
    curriculum: bool = True
    variety: bool = True
    perturbation: StatePerturbation | None = field(default_factory=StatePerturbation)
    pieces: int = 4
    sharpenings: tuple[float, ...] = (1.0, 1.5, 2.0, 3.0)
    sharpen_distance: int | None = None
    sharpen_rows: int = 60

    def __post_init__(self) -> None:
        if (self.seconds is None) == (self.batches is None):
            raise ValueError(
                f"seconds is {self.seconds} and batches {self.batches}; give one of them, the other None"
            )
        for name in ("seconds", "batches", "hidden_size", "embedding_size", "learning_rate", "rest", "clip",
                     "batch_steps", "pieces", "sharpen_distance", "sharpen_rows"):  # fmt: skip
            if (value := getattr(self, name)) is not None and not value > 0:
                raise ValueError(f"{name} is {value!r}; it must be greater than 0")
        if not self.sharpenings:
            raise ValueError("sharpenings is empty; give (1.0,) to leave the gates as trained")


def learning_rate_of(learning: Learning, cell: str | Core) -> float:
    """Of this cell's training: what the settings say, or what is usual for the cell."""
    if learning.learning_rate is not None:
        return learning.learning_rate
    return 1e-3 if cell == "transformer" else 4e-3


def learn(
    story: Story, cell: str | Core = "lstm", seed: int = 0, learning: Learning | None = None
) -> StoryModel:
    """Train a fresh model on stories of `story.distance` or less and return it, in evaluation mode.

    cell  one of `learning_model.CELLS` (lstm has coupled gates), or a function input_size -> module with
          `hidden_size`, such as lambda size: torch.nn.LSTM(size, 64, batch_first=True)
    seed  of the weights, the stories and the perturbation; torch's and NumPy's global generators are left as they were

    Only training stories are learned from. With `batches` a seed fixes the result on one machine and one number of
    threads; with `seconds` it hangs on how fast the machine is. `StoryModel.log` has a row every 50 batches: batch,
    seconds, distance, variety, right (a running share) and loss.
    Raises ValueError for an unknown cell or settings that do not fit.
    """
    learning = learning or Learning()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        model = StoryModel(
            story, core_of(cell, learning.hidden_size, story.distance), learning.embedding_size
        )
        _train(model, replace(learning, learning_rate=learning_rate_of(learning, cell)), rng)
        model.eval()
        _sharpen(model, learning, seed)
    return model


def _train(model: StoryModel, learning: Learning, rng: np.random.Generator) -> None:
    story, limit = model.story, model.story.distance
    rate = learning.learning_rate
    assert rate is not None
    curriculum = Curriculum(_first(learning, limit), limit)
    kinds = story.kind.varieties
    variety = Curriculum(1 if learning.variety else kinds, kinds)
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)
    begun, batch, spent, end = time.perf_counter(), 0, 0.0, 1.0
    while spent < 1:
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, max(0.02, (1 - spent) / max(1e-9, learning.cooling)))
        examples = _drawn(story, learning, curriculum, variety, rng)
        said = model(examples, _perturbation(model, learning, curriculum), max(1, limit // learning.pieces))
        loss = loss_of(story, said, examples)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(model.parameters(), learning.clip)
        optimiser.step()
        answers = (said.argmax(-1) if story.classes else said[:, 0]).detach().numpy()
        right = float(judged(story, examples, answers).mean())
        if variety.finished:
            curriculum = curriculum.after(right)
        else:
            variety = variety.after(right)
        batch, seconds = batch + 1, time.perf_counter() - begun
        used = batch / learning.batches if learning.batches else seconds / (learning.seconds or 1)
        learned = curriculum.finished and curriculum.average > curriculum.threshold
        if learned and end == 1 and learning.rest is not None:
            end = min(1.0, used * (1 + learning.rest))
        spent = used / end
        if batch % 50 == 0 or spent >= 1:
            shown = curriculum if variety.finished else variety
            model.log.append({"batch": batch, "seconds": seconds, "distance": curriculum.difficulty,
                              "variety": variety.difficulty, "right": shown.average, "loss": loss.item()})  # fmt: skip


def loss_of(story: Story, said: torch.Tensor, examples: Examples) -> torch.Tensor:
    """Cross-entropy over all questions, in nats; the mean squared error where the answer is a number."""
    if story.classes:
        return functional.cross_entropy(said, torch.from_numpy(examples.answers))
    return functional.mse_loss(said[:, 0], torch.from_numpy(examples.numbers))


def _first(learning: Learning, limit: int) -> int:
    return max(1, limit // 40) if learning.curriculum else limit


def _drawn(
    story: Story,
    learning: Learning,
    curriculum: Curriculum,
    variety: Curriculum,
    rng: np.random.Generator,
) -> Examples:
    """A batch of one distance: the curriculum's, and after its end any; of the variety that has been reached."""
    distance = curriculum.difficulty
    if learning.curriculum and curriculum.finished:
        distance = int(rng.integers(max(1, story.distance // 8), story.distance + 1))
    rows = min(64, max(32, learning.batch_steps // (distance + 40)))
    told = None if variety.finished else variety.difficulty
    return story.batch(rows, "train", rng, distance=distance, variety=told)


def _perturbation(model: StoryModel, learning: Learning, curriculum: Curriculum) -> StatePerturbation | None:
    if learning.perturbation is None or not model.story.classes or not isinstance(model.core, Recurrent):
        return None
    # By the logarithm of the distance, so that what is asked is understood before it is made hard to keep.
    begun = math.log(_first(learning, curriculum.limit))
    way = math.log(curriculum.limit) - begun
    return learning.perturbation.scaled((math.log(curriculum.difficulty) - begun) / way if way else 1.0)


def _sharpen(model: StoryModel, learning: Learning, seed: int) -> None:
    """Sharpen by the factor that validation stories choose; a plain RNN and a Transformer have nothing to sharpen."""
    core = model.core
    if not isinstance(core, Recurrent) or core.cell.name.startswith("rnn") or not model.story.classes:
        return
    trained = {name: value.clone() for name, value in core.state_dict().items()}
    distances = (
        model.story.distance,
        learning.sharpen_distance or (50 if model.story.kind.filled else 10) * model.story.distance,
    )
    asked = [
        model.story.batch(learning.sharpen_rows, "validation", seed, distance=each) for each in distances
    ]
    best = -1.0
    for factor in sorted(learning.sharpenings):
        core.load_state_dict(trained)
        sharpen(core, factor)
        right = float(np.mean([model.right(examples).mean() for examples in asked]))
        if right > best:
            best, model.sharpened, chosen = (
                right,
                factor,
                {k: v.clone() for k, v in core.state_dict().items()},
            )
    core.load_state_dict(chosen)
