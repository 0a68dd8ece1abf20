"""The network of a Translator or Summarizer: source tokens to target tokens, by whatever encoder and decoder."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from storyline.data import PairBatch, PairEncoder, TextEncoder
from storyline.layers import CopyingHead, LinearHead, TiedHead, TokenEmbedding
from storyline.layers.attention import Attention, MultiHeadAttention
from storyline.layers.copying import coverage_loss
from storyline.layers.decoding import Decoded, Decoder, DecodingState, Encoded, Encoder
from storyline.layers.packed_decoder import PackedRecurrentDecoder
from storyline.layers.packed_encoder import PackedRecurrentEncoder
from storyline.layers.recurrent_decoder import RecurrentDecoder
from storyline.layers.recurrent_encoder import RecurrentEncoder
from storyline.layers.transformer_decoder import TransformerDecoder
from storyline.layers.transformer_encoder import TransformerEncoder
from storyline.tasks.starting_vectors import PairStart, StartingVectors, embedding_arguments
from storyline.tasks.text_to_text_settings import TextToTextSettings

# Under which name a copying model keeps the ids of the source beside the decoder's state.
_SOURCE = "source_ids"


class SourceToTarget(nn.Module):
    """Embeddings, encoder, decoder and head.

    The target is foretold token by token: what the decoder reads is the target behind `<end>`, which is also what
    must follow its last token.

    scale     what embedded tokens are multiplied by before they are read (Vaswani et al. 2017, section 3.4): without it
              the signals of a stack of recurrent layers begin so small that it learns to attend late, or never
    coverage  weight of the coverage loss of a copying model
    """

    def __init__(
        self,
        source: TokenEmbedding,
        target: TokenEmbedding,
        encoder: Encoder,
        decoder: Decoder,
        head: LinearHead | TiedHead | CopyingHead,
        *,
        scale: float = 1.0,
        coverage: float = 0.0,
    ) -> None:
        super().__init__()
        self.source, self.target = source, target
        self.encoder, self.decoder, self.head = encoder, decoder, head
        self.scale, self.coverage = scale, coverage

    @property
    def attends(self) -> bool:
        """Whether the decoder looks at the source."""
        return not (isinstance(self.decoder, RecurrentDecoder) and self.decoder.attention is None)

    def encode(self, ids: Tensor, lengths: Tensor) -> Encoded:
        """Read sources: ids (batch, source) int64 of `lengths` (batch,) tokens."""
        if isinstance(self.encoder, PackedRecurrentEncoder):
            return self.encoder.read(ids, self.source, self.scale, lengths)
        encoded: Encoded = self.encoder(self.scale * self.source(ids), lengths)
        return encoded

    def forward(
        self, source: Tensor, source_lengths: Tensor, target: Tensor, target_lengths: Tensor
    ) -> Decoded:
        """Teacher forcing: source (batch, source), target (batch, time), as the decoder reads it -> for the head."""
        return self.decode(self.encode(source, source_lengths), self.target(target), target_lengths)

    def decode(self, encoded: Encoded, embedded: Tensor, lengths: Tensor) -> Decoded:
        """As `forward`, of sources that are encoded and target tokens that are embedded."""
        decoded: Decoded = self.decoder(self.scale * embedded, encoded, lengths)
        return decoded

    def loss(self, batch: PairBatch, read: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """Mean cross entropy in nats of what the batch is to say, where the decoder reads `read` (batch, time).

        In training of a model with `coverage`, that times the coverage loss is added (See et al. 2017, eq. 13).
        """
        # Embedded once: in training, dropout shows the decoder and the gate of copying the same token.
        embedded = self.target(read)
        encoded = self.encode(batch.source, batch.source_lengths)
        decoded = self.decode(encoded, embedded, batch.target_lengths)
        said = batch.target_out >= 0
        output, targets = decoded.output[said], batch.target_out[said]
        if not isinstance(self.head, CopyingHead):
            return self.head.loss(output, targets, label_smoothing=label_smoothing)
        assert decoded.attention is not None
        loss = self.head.loss(
            output,
            targets,
            embedded=embedded[said],
            attention=decoded.attention[said],
            source_ids=batch.source.unsqueeze(1).expand(decoded.attention.shape)[said],
            label_smoothing=label_smoothing,
        )
        if self.training and self.coverage:
            loss = loss + self.coverage * coverage_loss(decoded.attention, batch.target_lengths)
        return loss

    def log_probabilities(self, decoded: Decoded, embedded: Tensor, source: Tensor) -> Tensor:
        """Of every next token (batch, time, vocabulary), where the decoder read `embedded` (batch, time, size)."""
        if not isinstance(self.head, CopyingHead):
            return self.head.log_probabilities(decoded.output)
        assert decoded.attention is not None
        return self.head.log_probabilities(
            decoded.output,
            embedded=embedded,
            attention=decoded.attention,
            source_ids=source.unsqueeze(1),
            size=self.head.classes,
        )

    def begin(self, source: Tensor, lengths: Tensor) -> DecodingState:
        """The state before the first token of each sentence, one hypothesis a sentence."""
        state = self.decoder.begin(self.encode(source, lengths))
        if isinstance(self.head, CopyingHead):
            state = DecodingState({**state.shared, _SOURCE: source}, state.rows)
        return state

    def step(self, tokens: Tensor, state: DecodingState) -> tuple[Any, Tensor | None, DecodingState]:
        """One token of each hypothesis (rows,) -> scores of the next, as search takes them, attention, new state.

        Of a network that was packed (layers.packed) the scores are `PackedScores`, else (rows, vocabulary).
        """
        if not isinstance(self.head, CopyingHead):
            if isinstance(self.decoder, PackedRecurrentDecoder):
                decoded, state = self.decoder.read(tokens, self.target, self.scale, state)
            else:
                decoded, state = self.decoder.step(self.scale * self.target(tokens), state)
            return self.head(decoded.output), decoded.attention, state
        embedded, state = self.target(tokens), state.settled()
        decoded, state = self.decoder.step(self.scale * embedded, state)
        assert decoded.attention is not None
        source = state.shared[_SOURCE]
        beside = Decoded(
            decoded.output.view(len(source), -1, decoded.output.shape[1]),
            decoded.attention.view(len(source), -1, source.shape[1]),
        )
        scores = self.log_probabilities(beside, embedded.view(len(source), -1, embedded.shape[1]), source)
        return scores.flatten(0, 1), decoded.attention, state


def new_text_to_text_network(
    settings: TextToTextSettings, vocabularies: PairEncoder, start: PairStart | None = None
) -> SourceToTarget:
    """The network that resolved settings ask for, with its initial weights; draws from torch's generator.

    start  where the vectors of the tokens start, None: at random
    """
    start = start or PairStart()
    target = vocabularies.target
    target_embedding = _embedding(settings, target, start.source if vocabularies.shared else start.target)
    source_embedding = (
        target_embedding if vocabularies.shared else _embedding(settings, vocabularies.source, start.source)
    )
    size = target_embedding.weight.shape[1]
    encoder, decoder = (_transformer if settings.core == "transformer" else _recurrent)(settings, size)
    head: LinearHead | TiedHead
    if settings.tied:
        head = TiedHead(target_embedding, input_size=decoder.output_size, dropout=settings.dropout)
    else:
        head = LinearHead(decoder.output_size, target.size, dropout=settings.dropout)
    # Before it has learned anything the model foretells the frequencies of the tokens.
    counts = torch.from_numpy(target.counts).double() + 0.5
    with torch.no_grad():
        bias = head.linear.bias if isinstance(head, LinearHead) else head.bias
        bias.copy_((counts / counts.sum()).log())
    # A tied embedding is as small as a head wants it; Transformers make up for that by themselves.
    scale = 1.0 if settings.core == "transformer" else math.sqrt(size)
    whole = CopyingHead(head, target.size, decoder.output_size, size) if settings.copying else head
    return SourceToTarget(
        source_embedding, target_embedding, encoder, decoder, whole, scale=scale, coverage=settings.coverage
    )


def _embedding(
    settings: TextToTextSettings, encoder: TextEncoder, start: StartingVectors | None
) -> TokenEmbedding:
    assert settings.embedding_size != "auto"
    return TokenEmbedding(
        encoder.size,
        settings.embedding_size,
        unknown_id=encoder.unknown_id,
        pad_id=encoder.pad_id,
        counts=torch.from_numpy(encoder.counts),
        word_dropout=settings.word_dropout,
        dropout=settings.dropout,
        **embedding_arguments(start, encoder.size, freeze=settings.freeze_vectors),
    )


def _recurrent(settings: TextToTextSettings, size: int) -> tuple[Encoder, Decoder]:
    assert settings.remember != "auto"
    shared: dict[str, Any] = {
        "core": settings.core,
        "num_layers": settings.num_layers,
        "gnmt": settings.gnmt,
        "dropout": settings.dropout,
        "recurrent_dropout": settings.recurrent_dropout,
        "weight_dropout": settings.weight_dropout,
        "remember": settings.remember,
        "backend": settings.backend,
    }
    encoder = RecurrentEncoder(size, settings.hidden_size, bidirectional=settings.bidirectional, **shared)
    attention: str | Attention | None = settings.attention
    if attention == "multihead":
        attention = MultiHeadAttention(
            settings.hidden_size, encoder.output_size, num_heads=settings.num_heads
        )
    decoder = RecurrentDecoder(
        size,
        encoder.output_size,
        settings.hidden_size,
        attention=attention,
        input_feeding=settings.input_feeding,
        **shared,
    )
    return encoder, decoder


def _transformer(settings: TextToTextSettings, size: int) -> tuple[Encoder, Decoder]:
    assert settings.feedforward_size != "auto"
    shared: dict[str, Any] = {
        "num_layers": settings.num_layers,
        "num_heads": settings.num_heads,
        "feedforward_size": settings.feedforward_size,
        "dropout": settings.dropout,
    }
    encoder = TransformerEncoder(size, settings.hidden_size, **shared)
    return encoder, TransformerDecoder(size, encoder.output_size, settings.hidden_size, **shared)
