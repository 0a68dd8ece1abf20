"""Heads: from states to classes or words, and the loss of doing so.

All have the same two verbs, over any leading shape: `loss(inputs, targets)`, the mean negative log-likelihood
in nats, and `log_probabilities(inputs)`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from storyline.layers.embedding import TokenEmbedding
from storyline.layers.smoothed_loss import pays, smoothed_loss


class Head(nn.Module, ABC):
    """A head that scores every class, before the softmax: (..., input_size) -> (..., classes)."""

    @abstractmethod
    def forward(self, inputs: Tensor) -> Tensor:
        """Scores (..., classes)."""

    def loss(self, inputs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """Mean cross-entropy in nats: inputs (..., input_size), targets (...) int64 -> scalar.

        Targets of -100 are left out. Many scores of many classes are never held at once (`smoothed_loss`).
        """
        linear = self._linear(inputs)
        if linear is not None:
            hidden, weight, bias = linear
            if pays(targets.numel(), len(weight), targets.device):
                return smoothed_loss(
                    hidden.flatten(0, -2), weight, bias, targets.flatten(), label_smoothing=label_smoothing
                )
            scores = functional.linear(hidden, weight, bias).flatten(0, -2)
        else:
            scores = self(inputs).flatten(0, -2)
        return functional.cross_entropy(scores, targets.flatten(), label_smoothing=label_smoothing)

    def _linear(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor] | None:
        """What `forward` is if it ends in a linear map: its input (..., size), weight and bias; else None."""
        return None

    def log_probabilities(self, inputs: Tensor) -> Tensor:
        """Natural logarithms of the probabilities: inputs (..., input_size) -> (..., classes)."""
        scores: Tensor = self(inputs)
        return scores.log_softmax(-1)


class LinearHead(Head):
    """Dropout, then one linear map."""

    def __init__(self, input_size: int, classes: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(input_size, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Scores (..., classes) of inputs (..., input_size)."""
        return functional.linear(*self._linear(inputs))

    def _linear(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.dropout(inputs), self.linear.weight, self.linear.bias


class TiedHead(Head):
    """A linear head whose weight is that of an embedding: half the parameters of a language model, or fewer.

    Press and Wolf 2017; Inan, Khosravi and Socher 2017. Where input_size is not the embedding's, a linear map
    without bias leads from one to the other. The weight belongs to the embedding and is saved with it alone,
    so both must be parts of one model, for copies of it to stay tied.
    """

    def __init__(
        self, embedding: TokenEmbedding, *, input_size: int | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        classes, embedding_size = embedding.weight.shape
        # In a tuple, so that torch does not register the embedding a second time.
        self._embedding = (embedding,)
        self.dropout = nn.Dropout(dropout)
        self.bias = nn.Parameter(torch.zeros(classes))
        self.projection: nn.Module = nn.Identity()
        if input_size is not None and input_size != embedding_size:
            self.projection = nn.Linear(input_size, embedding_size, bias=False)

    @property
    def weight(self) -> Tensor:
        """The embedding's: (classes, embedding_size)."""
        (embedding,) = self._embedding
        return embedding.weight

    def forward(self, inputs: Tensor) -> Tensor:
        """Scores (..., classes) of inputs (..., input_size)."""
        return functional.linear(*self._linear(inputs))

    def _linear(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self._projected(inputs), self.weight, self.bias

    def _projected(self, inputs: Tensor) -> Tensor:
        projected: Tensor = self.projection(self.dropout(inputs))
        return projected


class SampledHead(TiedHead):
    """A tied head that scores a random sample of the classes in training, and all of them otherwise.

    Each class j is in the sample of a step with a probability q_j of its own, min(1, c count_j^power), c chosen so
    that `candidates` are drawn on average. The normaliser of the softmax for a target y is estimated by

        Z_y = exp(s_y) + sum over the sampled j other than y of exp(s_j) / q_j,

    whose mean is the true one: importance sampling, Bengio and Senecal 2003, section 4, with a sample shared by
    all targets of the step. So the loss of a training step estimates the cross-entropy from slightly below.

    counts (classes,): how often each class occurs in the training part. The rest as for TiedHead.
    """

    log_inclusion: Tensor

    def __init__(
        self,
        embedding: TokenEmbedding,
        *,
        counts: Tensor,
        candidates: int = 1200,
        power: float = 0.75,
        input_size: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(embedding, input_size=input_size, dropout=dropout)
        if candidates < 1:
            raise ValueError(f"candidates is {candidates}; it must be at least 1")
        if counts.shape != self.bias.shape:
            raise ValueError(
                f"counts have shape {tuple(counts.shape)}; they must be {tuple(self.bias.shape)}"
            )
        # Not saved: it matters to training alone, and whoever trains on has the counts.
        self.register_buffer("log_inclusion", _inclusion(counts, candidates, power).log(), persistent=False)

    def loss(self, inputs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """Mean cross-entropy in nats, in training its estimate: inputs (..., input_size), targets (...) -> scalar."""
        if not self.training:
            return super().loss(inputs, targets, label_smoothing=label_smoothing)
        if label_smoothing:
            raise ValueError("label smoothing needs the scores of all classes; a sampled head has only some")
        (embedding,) = self._embedding
        hidden, wanted = self._projected(inputs).flatten(0, -2), targets.flatten()
        drawn = torch.rand_like(self.log_inclusion).log() < self.log_inclusion
        sample = torch.nonzero(drawn).squeeze(1)
        # One look-up for both: its gradient fills the whole embedding with zeros first.
        rows = functional.embedding(torch.cat([sample, wanted]), embedding.weight)
        candidates, own = rows[: len(sample)], rows[len(sample) :]
        scores = torch.addmm(self.bias[sample] - self.log_inclusion[sample], hidden, candidates.t())
        column = torch.full_like(drawn, -1, dtype=torch.int64)
        column[sample] = torch.arange(len(sample), device=sample.device)
        column = column[wanted]
        hit = torch.nonzero(column >= 0).squeeze(1)
        scores = scores.index_put((hit, column[hit]), scores.new_tensor(-torch.inf))
        target = (hidden * own).sum(1) + self.bias[wanted]
        return functional.softplus(scores.logsumexp(1) - target).mean()


def _inclusion(counts: Tensor, candidates: int, power: float) -> Tensor:
    """min(1, c counts^power), c found by bisection so that the sum is `candidates` (all 1 where there are fewer)."""
    weights = counts.double().clamp_min(1).pow(power)
    low, high = 0.0, float(1 / weights.min())
    for _ in range(60):
        middle = (low + high) / 2
        enough = float((middle * weights).clamp_max(1).sum()) >= candidates
        low, high = (low, middle) if enough else (middle, high)
    return (high * weights).clamp_max(1).float()


class AdaptiveHead(nn.Module):
    """Adaptive softmax for large vocabularies whose ids run from the frequent to the rare.

    Grave et al. 2017, over torch.nn.AdaptiveLogSoftmaxWithLoss. The ids below cutoffs[0] are scored for every
    input; each later range costs time only for targets in it, with inputs shrunk by `div_value` a range.
    cutoffs: increasing ids below `classes`.
    """

    def __init__(
        self,
        input_size: int,
        classes: int,
        cutoffs: Sequence[int],
        *,
        div_value: float = 4.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        ordered = list(cutoffs)
        if not ordered or ordered != sorted(set(ordered)) or ordered[0] < 1 or ordered[-1] >= classes:
            raise ValueError(f"cutoffs are {ordered}; they must increase, from 1 to below classes={classes}")
        smallest = int(input_size // div_value ** len(ordered))
        if smallest < 1:
            raise ValueError(
                f"{len(ordered)} cutoffs with div_value={div_value} shrink input_size={input_size}"
                " to nothing; use fewer cutoffs or a smaller div_value"
            )
        self.dropout = nn.Dropout(dropout)
        self.softmax = nn.AdaptiveLogSoftmaxWithLoss(input_size, classes, ordered, div_value=div_value)

    def loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy in nats: inputs (..., input_size), targets (...) int64 -> scalar."""
        loss: Tensor = self.softmax(self.dropout(inputs).flatten(0, -2), targets.flatten()).loss
        return loss

    def log_probabilities(self, inputs: Tensor) -> Tensor:
        """Natural logarithms of the probabilities: inputs (..., input_size) -> (..., classes)."""
        flat = self.softmax.log_prob(self.dropout(inputs).flatten(0, -2))
        return flat.view(*inputs.shape[:-1], -1)
