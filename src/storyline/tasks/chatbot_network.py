"""The network of a Chatbot, and what training asks of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from storyline.data import Batch, TextEncoder
from storyline.layers import PhraseMemory, SampledHead, TiedHead, TokenEmbedding
from storyline.tasks.batches import Batches
from storyline.tasks.chatbot_settings import ChatbotSettings
from storyline.tasks.dialogues import Dialogues
from storyline.tasks.language_scoring import score_tokens
from storyline.tasks.next_token import NextToken, new_core


def new_chat_network(settings: ChatbotSettings, encoder: TextEncoder) -> NextToken:
    """The network that resolved settings ask for, with its initial weights; draws from torch's generator."""
    assert settings.embedding_size != "auto"
    embedding = TokenEmbedding(
        encoder.size, settings.embedding_size, unknown_id=encoder.unknown_id, pad_id=encoder.pad_id
    )
    # The encoder counts no <end>; one stands after every turn, so that hardly any token is as frequent.
    counts = torch.from_numpy(encoder.counts).double()
    counts[encoder.end_id] = counts.max()
    size, dropout = settings.hidden_size, settings.dropout
    head: TiedHead
    if settings.softmax == "sampled":
        head = SampledHead(
            embedding, counts=counts, candidates=settings.candidates, input_size=size, dropout=dropout
        )
    else:
        head = TiedHead(embedding, input_size=size, dropout=dropout)
    # Before it has learned anything the model foretells the frequencies of the tokens.
    with torch.no_grad():
        head.bias.copy_((counts + 0.5).log() - (counts + 0.5).sum().log())
    return NextToken(
        embedding,
        new_core(settings, settings.embedding_size),
        head,
        dropout=settings.dropout,
        phrases=None if settings.phrases is None else PhraseMemory(settings.phrases),
    )


class DialogueProgram:
    """The next token of whole dialogues, each from the initial state on; the loss is the mean over tokens.

    training    rows of dialogues, in batches of about `batch_tokens` tokens
    validation  ids of dialogues, as `encode_dialogues` gives them, never in parts; None: there are none
    """

    monitor = "loss"
    mode: Literal["min", "max"] = "min"

    def __init__(
        self,
        module: NextToken,
        training: Dialogues,
        validation: Sequence[np.ndarray] | None,
        settings: ChatbotSettings,
    ) -> None:
        self.module, self._settings = module, settings
        self._training, self._validation = training, validation

    def batches(self, epoch: int) -> Batches[Batch]:
        """The epoch's batches, rows of like length together: a function of the seed and the epoch."""
        order = self._training.order(self._settings.batch_tokens, seed=self._settings.seed, epoch=epoch)
        return Batches(self._training, order)

    def loss(self, item: Batch, carry: dict[str, Tensor] | None) -> tuple[Tensor, None, int]:
        """Mean cross entropy in nats a token."""
        assert item.targets is not None
        output, _ = self.module(item.inputs, lengths=item.lengths)
        scored = item.targets >= 0
        return self.module.head.loss(output[scored], item.targets[scored]), None, int(scored.sum())

    def validate(self) -> dict[str, float]:
        """Loss in nats a token on the validation dialogues; {} where there are none."""
        if self._validation is None:
            return {}
        costs = np.concatenate(score_dialogues(self.module, self._validation))
        return {"loss": float(costs.mean())}


def score_dialogues(
    network: NextToken, ids: Sequence[np.ndarray], *, alone: bool = False
) -> list[np.ndarray]:
    """Surprisal in nats of every token of each dialogue but the <end> that opens it, (tokens,) each.

    alone: without the phrases that the network may keep. Call it in evaluation mode and without gradients.
    """
    return score_tokens(network, [row[:1] for row in ids], [row[1:] for row in ids], alone=alone)


def keep_phrases(network: NextToken, kept: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> None:
    """Let a network that has phrases keep those of dialogues, trusted as far as that helps on others.

    As `score_dialogues`; kept, others: ids as `encode_dialogues` gives them.
    """
    if network.phrases is not None:
        network.phrases.keep(kept)
        network.phrases.fit_weights(others, score_dialogues(network, others, alone=True))
