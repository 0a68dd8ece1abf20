"""Copying: words of the source as targets, beside those of the vocabulary; and coverage (See, Liu and Manning 2017).

A word of the source that the vocabulary lacks gets an extended id: vocabulary, vocabulary + 1, ..., anew for each
source, the same word the same id. The ids of a source, (batch, source) int64, are its words' ids, extended where they
are unknown.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from storyline.layers.head import Head


@final
class CopyingHead(nn.Module):
    """The pointer-generator: a mixture of writing a word of the vocabulary and copying one of the source.

        P(w) = p_gen P_vocab(w) + (1 - p_gen) * sum of the attention to those tokens of the source that are w
        p_gen = sigma(w' [decoder's output; embedded token] + b)

    See, Liu and Manning 2017, eq. 8-9; the decoder's output is made of state and context, which stand apart in eq. 8.
    All is computed in logarithms.

    head: gives P_vocab. classes: the size of its vocabulary. input_size: of the decoder's output; embedding_size: of
    the token that the decoder read.

    Both verbs take, over any leading shape (...):
    inputs (..., input_size): what the decoder made; embedded (..., embedding_size): of what token;
    attention (..., source): how much of each source token it took, 0 in the padding;
    source_ids (..., source) int64: extended ids of the source, of a shape that expands to attention's.
    """

    def __init__(self, head: Head, classes: int, input_size: int, embedding_size: int) -> None:
        super().__init__()
        self.head, self.classes = head, classes
        self.gate = nn.Linear(input_size + embedding_size, 1)

    def loss(
        self,
        inputs: Tensor,
        targets: Tensor,
        *,
        embedded: Tensor,
        attention: Tensor,
        source_ids: Tensor,
        label_smoothing: float = 0.0,
    ) -> Tensor:
        """Mean of -ln P(target) in nats: targets (...) int64, extended where a word is in the source alone -> scalar.

        label_smoothing: this share of the loss is the mean of -ln P_vocab over the vocabulary instead.
        Raises ValueError for a target that is neither in the vocabulary nor in its source.
        """
        ids = _expanded(source_ids, attention)
        copied = (attention * (ids == targets.unsqueeze(-1))).sum(-1)
        known = targets < self.classes
        self._check_targets(targets, known | (ids == targets.unsqueeze(-1)).any(-1))
        scores: Tensor = self.head(inputs)
        normaliser = scores.logsumexp(-1)
        own = scores.gather(-1, targets.where(known, 0).unsqueeze(-1)).squeeze(-1) - normaliser
        write, copy = self._gates(inputs, embedded)
        written = torch.where(known, write + own, -torch.inf)
        # A known word that was not copied at all owes nothing to copying.
        read = copy + torch.where(known & (copied == 0), -torch.inf, _log(copied))
        loss = -torch.logaddexp(written, read).mean()
        if not label_smoothing:
            return loss
        smooth = (normaliser - scores.mean(-1)).mean()
        return (1 - label_smoothing) * loss + label_smoothing * smooth

    def log_probabilities(
        self,
        inputs: Tensor,
        *,
        embedded: Tensor,
        attention: Tensor,
        source_ids: Tensor,
        size: int | None = None,
    ) -> Tensor:
        """Logarithms ln P: (..., size), the vocabulary first, then extended ids; -inf for ids that the source lacks.

        size: None: up to the largest id of source_ids. Raises ValueError where it has no room for an id.
        """
        largest = max(self.classes, int(source_ids.max()) + 1)
        size = largest if size is None else size
        if size < largest:
            raise ValueError(
                f"size is {size}, but the ids of the sources and of the vocabulary need {largest}"
            )
        ids = _expanded(source_ids, attention)
        write, copy = self._gates(inputs, embedded)
        # One column more: where the same word stands at several places, all but one of them write there.
        written = write.unsqueeze(-1) + self.head.log_probabilities(inputs)
        written = functional.pad(written, (0, size + 1 - self.classes), value=-torch.inf)
        copied = (
            attention.new_zeros(*attention.shape[:-1], size).scatter_add(-1, ids, attention).gather(-1, ids)
        )
        both = torch.logaddexp(written.gather(-1, ids), copy.unsqueeze(-1) + _log(copied))
        places = torch.where(_one_of_each(source_ids, size), source_ids, size).expand(attention.shape)
        return written.scatter(-1, places, both)[..., :size]

    def _gates(self, inputs: Tensor, embedded: Tensor) -> tuple[Tensor, Tensor]:
        """Both ln p_gen and ln (1 - p_gen), (...)."""
        gate = self.gate(torch.cat([inputs, embedded], dim=-1)).squeeze(-1)
        # Not by logsigmoid, which calls all threads together for a handful of numbers.
        return -functional.softplus(-gate), -functional.softplus(gate)

    def _check_targets(self, targets: Tensor, fits: Tensor) -> None:
        if not bool(fits.all()):
            raise ValueError(
                f"targets hold the id {int(targets[~fits][0])}, which is neither in the vocabulary of {self.classes} "
                "nor in its source; give the id of unknown words there"
            )


def coverage(attention: Tensor) -> Tensor:
    """How much attention each source token got before each target token: (batch, time, source) -> the same.

    c_t = a_0 + ... + a_(t-1) (See, Liu and Manning 2017, eq. 10).
    """
    before = functional.pad(attention[:, :-1], (0, 0, 1, 0))
    return before.cumsum(1)


def coverage_loss(attention: Tensor, lengths: Tensor) -> Tensor:
    """Attention spent again where it was spent before: the mean over all target tokens of sum_i min(a_ti, c_ti).

    See, Liu and Manning 2017, eq. 12; eq. 13 adds it to the loss, times lambda.
    attention (batch, time, source); lengths (batch,): target tokens of each row -> scalar.
    """
    again = torch.minimum(attention, coverage(attention)).sum(-1)
    places = torch.arange(attention.shape[1], device=attention.device)
    inside = places < lengths.to(attention.device).unsqueeze(1)
    return again[inside].mean()


def _expanded(source_ids: Tensor, attention: Tensor) -> Tensor:
    try:
        return source_ids.expand(attention.shape)
    except RuntimeError:
        raise ValueError(
            f"source_ids have shape {tuple(source_ids.shape)}, which does not expand to that of attention, "
            f"{tuple(attention.shape)}; give an id for each source token"
        ) from None


def _log(mass: Tensor) -> Tensor:
    """The logarithm, that of the least normal number at 0: a word without any attention has a finite loss."""
    return mass.clamp_min(torch.finfo(mass.dtype).tiny).log()


def _one_of_each(ids: Tensor, size: int) -> Tensor:
    """Bool, as ids (..., source): True at one place of each distinct id."""
    places = torch.arange(ids.shape[-1], device=ids.device).expand(ids.shape)
    last = ids.new_zeros(*ids.shape[:-1], size).scatter(-1, ids, places)
    return last.gather(-1, ids) == places
