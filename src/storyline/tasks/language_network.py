"""The network of a LanguageModel, and what training asks of it."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from storyline.data import TextEncoder, stream_chunks
from storyline.layers import (
    GRU,
    LSTM,
    RNN,
    AdaptiveHead,
    LinearHead,
    LockedDropout,
    SampledHead,
    TiedHead,
    TokenEmbedding,
)
from storyline.layers.transformer import Transformer
from storyline.tasks.estimator import recurrent
from storyline.tasks.settings import LanguageModelSettings
from storyline.tasks.starting_vectors import StartingVectors, embedding_arguments

Carry = dict[str, Tensor]
# Adaptive softmax: the most frequent words, and ranges of rarer ones (Grave et al. 2017).
_CUTOFFS = (2_000, 10_000, 50_000)
Chunk = tuple[Tensor, Tensor]
# The share of streams that begin a chunk with a fresh state: else the model would meet the beginning of a text but
# once a pass, and have nothing to say after a short prompt.
_FRESH = 0.02
# Steps read at once where no gradient is wanted.
_READING = 512


class NextToken(nn.Module):
    """Tokens to scores of the token that follows each: embedding, recurrent stack, head.

    dropout   of the embedded tokens, the same channels at all steps of a chunk
    shortcut  the head reads the embedded token beside the state

    The state goes in and out as a dict of h and c (layers, batch, size), so that one text may be read in chunks; that
    of a Transformer as one of its parts. The batch is the second axis of all of them.
    """

    def __init__(
        self,
        embedding: TokenEmbedding,
        layer: LSTM | GRU | RNN | Transformer,
        head: LinearHead | TiedHead | AdaptiveHead,
        *,
        dropout: float = 0.0,
        shortcut: bool = False,
    ) -> None:
        super().__init__()
        self.embedding, self.layer, self.head = embedding, layer, head
        self.dropout, self.shortcut = LockedDropout(dropout, batch_first=True), shortcut

    def forward(
        self, ids: Tensor, carry: Carry | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Carry]:
        """Ids (batch, time), the state before them -> what the head reads (batch, time, size), the state after them.

        lengths  (batch,): tokens of each row, None: all of them
        """
        embedded = self.dropout(self.embedding(ids))
        output, state = self.layer(embedded, self._state(carry), lengths=lengths)
        return self.for_head(output, embedded), self._carry(state)

    def step(self, ids: Tensor, carry: Carry | None = None) -> tuple[Tensor, Carry]:
        """One token of each row, in constant time: ids (batch,) -> log probabilities (batch, size), new state."""
        embedded = self.embedding(ids)
        output, state = self.layer.step(embedded, self._state(carry))
        return self.head.log_probabilities(self.for_head(output, embedded)), self._carry(state)

    def initial_carry(self, rows: int) -> Carry:
        """The state before the first token of `rows` texts."""
        return self._carry(self.layer.initial_state(rows))

    def for_head(self, output: Tensor, embedded: Tensor) -> Tensor:
        return torch.cat([output, embedded], dim=-1) if self.shortcut else output

    def _state(self, carry: Carry | None) -> Any:
        if carry is None:
            return None
        state = tuple([carry[name] for name in self._state_names()])
        return state if len(state) > 1 else state[0]

    def _carry(self, state: Tensor | tuple[Tensor, ...]) -> Carry:
        parts = (state,) if isinstance(state, Tensor) else state
        return dict(zip(self._state_names(), parts, strict=True))

    def _state_names(self) -> tuple[str, ...]:
        if isinstance(self.layer, Transformer):
            return ("read", *[f"cache_{number}" for number in range(self.layer.num_layers)])
        return self.layer.cell.states


def new_language_network(
    settings: LanguageModelSettings, encoder: TextEncoder, start: StartingVectors | None
) -> NextToken:
    """The network that resolved settings ask for, with its initial weights; draws from torch's generator.

    start  where the vectors of the tokens start, None: at random
    """
    assert settings.embedding_size != "auto"
    embedding = TokenEmbedding(
        encoder.size,
        settings.embedding_size,
        unknown_id=encoder.unknown_id,
        pad_id=encoder.pad_id,
        **embedding_arguments(start, encoder.size, freeze=settings.freeze_vectors),
    )
    layer = recurrent(settings, settings.embedding_size, bidirectional=False, dropout=settings.dropout)
    return NextToken(
        embedding,
        layer,
        _new_head(settings, torch.from_numpy(encoder.counts), embedding),
        dropout=0.0 if settings.level == "char" else settings.dropout,
        shortcut=bool(settings.shortcut),
    )


def _new_head(
    settings: LanguageModelSettings, counts: Tensor, embedding: TokenEmbedding
) -> LinearHead | TiedHead | AdaptiveHead:
    classes, dropout = len(counts), settings.dropout
    size = settings.hidden_size + (embedding.weight.shape[1] if settings.shortcut else 0)
    if settings.softmax == "adaptive":
        cutoffs = _cutoffs(settings, classes, size)
        return AdaptiveHead(size, classes, cutoffs, dropout=dropout)
    head: LinearHead | TiedHead
    if settings.softmax == "sampled":
        head = SampledHead(
            embedding, counts=counts, candidates=settings.candidates, input_size=size, dropout=dropout
        )
    elif settings.tied:
        head = TiedHead(embedding, input_size=size, dropout=dropout)
    else:
        head = LinearHead(size, classes, dropout=dropout)
    # Before it has learned anything the model foretells the frequencies of the tokens.
    bias = head.linear.bias if isinstance(head, LinearHead) else head.bias
    with torch.no_grad():
        bias.copy_((counts.double() + 0.5).log() - (counts.double() + 0.5).sum().log())
    return head


def _cutoffs(settings: LanguageModelSettings, classes: int, size: int) -> list[int]:
    """Where the ranges of the adaptive softmax begin; ValueError names the setting that does not fit."""
    cutoffs = [cutoff for cutoff in _CUTOFFS if cutoff < classes]
    if not cutoffs:
        raise ValueError(
            f"softmax='adaptive' spends less on words beyond the first {_CUTOFFS[0]}, and the text gives only "
            f"{classes}; set softmax='full'"
        )
    # Each range reads a quarter of the channels that the range before it reads.
    least = 4 ** len(cutoffs)
    if size < least:
        raise ValueError(
            f"softmax='adaptive' needs hidden_size={least} or more for a vocabulary of {classes}, and hidden_size is "
            f"{settings.hidden_size}; make it larger, or set softmax='full'"
        )
    return cutoffs


class LanguageProgram:
    """Truncated back-propagation through time (Williams and Peng 1990), the state carried from chunk to chunk.

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
        fresh = torch.rand(carry["h"].shape[1], 1, device=carry["h"].device) < _FRESH
        first = self.module.initial_carry(len(fresh))
        return {name: torch.where(fresh, first[name], state) for name, state in carry.items()}

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
