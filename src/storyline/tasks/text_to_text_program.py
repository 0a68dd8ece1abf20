"""What training asks of a text-to-text network: its batches, its loss, its validation."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from storyline.data import PairBatch, TokenPairs
from storyline.tasks.batches import Batches
from storyline.tasks.text_to_text_network import SourceToTarget
from storyline.tasks.text_to_text_settings import TextToTextSettings

# Tokens read at once where no gradient is wanted.
_READING = 8_000


class PairProgram:
    """Teacher forcing over batches of about `batch_tokens` tokens; the loss is the mean over target tokens.

    validation  None: there is nothing to validate on
    """

    monitor = "loss"
    mode: Literal["min", "max"] = "min"

    def __init__(
        self,
        module: SourceToTarget,
        training: TokenPairs,
        validation: TokenPairs | None,
        settings: TextToTextSettings,
    ) -> None:
        self.module, self._settings = module, settings
        self._training, self._validation = training, validation

    def batches(self, epoch: int) -> Batches[PairBatch]:
        """The epoch's batches, pairs of like length together: a function of the seed and the epoch."""
        assert self._settings.batch_tokens != "auto"
        order = self._training.order(self._settings.batch_tokens, seed=self._settings.seed, epoch=epoch)
        return Batches(self._training, order)

    def loss(self, item: PairBatch, carry: dict[str, Tensor] | None) -> tuple[Tensor, None, int]:
        """Mean cross entropy in nats a target token, with label smoothing and what copying adds."""
        read = item.target_in
        if self._settings.scheduled_sampling:
            read = scheduled(self.module, item, self._settings.scheduled_sampling)
        loss = self.module.loss(item, read, label_smoothing=self._settings.label_smoothing)
        return loss, None, int(item.target_lengths.sum())

    def validate(self) -> dict[str, float]:
        """Cross entropy in nats a token, without smoothing, on the validation pairs; {} where there are none."""
        if self._validation is None:
            return {}
        total, count = read_pairs(self.module, self._validation)
        return {"loss": total / count}


def read_pairs(network: SourceToTarget, pairs: TokenPairs) -> tuple[float, int]:
    """Summed loss in nats and number of target tokens, each `<end>` counted; in evaluation mode, without gradients."""
    device = next(network.parameters()).device
    total, count = 0.0, 0
    for places in pairs.order(_READING, seed=0, epoch=0, shuffle=False):
        batch = pairs.batch(places).to(device)
        tokens = int(batch.target_lengths.sum())
        total += float(network.loss(batch, batch.target_in)) * tokens
        count += tokens
    return total, count


def scheduled(network: SourceToTarget, item: PairBatch, probability: float) -> Tensor:
    """What the decoder reads in scheduled sampling, (batch, time): some tokens are the model's own.

    Bengio et al. 2015, in two passes that keep all steps in parallel (Mihaylova and Martins 2019): the first, by
    teacher forcing and without gradients, draws what the model would have said at each place; each read token but
    the first is replaced by that with `probability`.
    """
    with torch.no_grad():
        embedded = network.target(item.target_in)
        encoded = network.encode(item.source, item.source_lengths)
        decoded = network.decode(encoded, embedded, item.target_lengths)
        scores = network.log_probabilities(decoded, embedded, item.source)
        drawn = torch.multinomial(scores.exp().flatten(0, 1), 1).view(item.target_in.shape)
    own = torch.cat([item.target_in[:, :1], drawn[:, :-1]], dim=1)
    replaced = torch.rand(own.shape, device=own.device) < probability
    return torch.where(replaced, own, item.target_in)
