"""How a language model is trained on long texts, and how well it foretells one."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from storyline.data import stream_chunks
from storyline.tasks.language_settings import LanguageModelSettings
from storyline.tasks.next_token import Carry, NextToken

Chunk = tuple[Tensor, Tensor]
# The share of streams that begin a chunk with a fresh state: else the model would meet the beginning of a text but
# once a pass, and have nothing to say after a short prompt.
FRESH = 0.02
# Steps read at once where no gradient is wanted.
_READING = 512


class LanguageProgram:
    """Truncated back-propagation through time (Williams and Peng 1990), the state carried from chunk to chunk.

    So it is for a Transformer, too, whose state is the keys and values of its window (Dai et al. 2019, section 3.2).

    One stream in fifty begins a chunk with a fresh state instead, so that the model learns how texts begin.

    training, validation  ids (n,) of one long text each
    settings              `batch_size` parts of the text are read side by side, in chunks of `steps`
    """

    monitor = "loss"
    mode: Literal["min", "max"] = "min"

    def __init__(
        self,
        module: NextToken,
        training: np.ndarray,
        validation: np.ndarray | None,
        settings: LanguageModelSettings,
    ) -> None:
        streams, steps = settings.batch_size, settings.steps
        if len(training) <= streams:
            raise ValueError(
                f"the training text has {len(training)} tokens, too few for batch_size={streams} streams read side by "
                "side; give more text, or set batch_size below the number of tokens"
            )
        self.module = module
        self._training, self._validation = training, validation
        self._streams, self._steps, self._seed = streams, steps, settings.seed
        # Chunks are cut at another place in each epoch, all epochs with the same number of them.
        self._offsets = steps if len(training) > 4 * streams * steps else 1
        self._chunks = len(stream_chunks(training, streams, steps, offset=self._offsets - 1))

    def batches(self, epoch: int) -> list[Chunk]:
        """The epoch's chunks (inputs, targets), both (streams, steps): a function of the seed and the epoch."""
        offset = int(np.random.default_rng([self._seed, epoch]).integers(self._offsets))
        return stream_chunks(self._training, self._streams, self._steps, offset=offset)[: self._chunks]

    def loss(self, item: Chunk, carry: Carry | None) -> tuple[Tensor, Carry, int]:
        """Mean cross entropy of a chunk in nats a token, and the state after it."""
        inputs, targets = item
        output, carry = self.module(inputs, self._sometimes_fresh(carry))
        return self.module.head.loss(output, targets), carry, inputs.numel()

    def _sometimes_fresh(self, carry: Carry | None) -> Carry | None:
        if carry is None:
            return None
        state = next(iter(carry.values()))
        fresh = torch.rand(state.shape[1], device=state.device) < FRESH
        return self.module.begun_again(carry, fresh)

    def validate(self) -> dict[str, float]:
        """Loss in nats a token on the validation part, read as several streams; {} where there is none."""
        if self._validation is None:
            return {}
        streams = min(self._streams, max(1, len(self._validation) // (4 * self._steps)))
        total, count = read_loss(self.module, self._validation, streams)
        return {"loss": total / count}


def read_loss(network: NextToken, ids: np.ndarray, streams: int = 1) -> tuple[float, int]:
    """Summed loss in nats and number of tokens of a text, the state carried through all of it.

    Every token but the first of each stream is scored; call it in evaluation mode and without gradients.
    """
    device = next(network.parameters()).device
    carry: Carry | None = None
    total, count = 0.0, 0
    for inputs, targets in stream_chunks(ids, streams, _READING):
        output, carry = network(inputs.to(device), carry)
        total += float(network.head.loss(output, targets.to(device))) * targets.numel()
        count += targets.numel()
    return total, count
