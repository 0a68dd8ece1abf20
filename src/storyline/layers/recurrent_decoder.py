"""The recurrent decoder: a target read token by token, beside an encoded source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from storyline.layers.attention import Attention
from storyline.layers.attentions import new_attention
from storyline.layers.bridge import Bridge
from storyline.layers.coverage_attention import CoverageAttention
from storyline.layers.decoding import Decoded, Decoder, DecodingState, Encoded
from storyline.layers.recurrent import Recurrent
from storyline.layers.recurrent_core import RecurrentCore


@final
class RecurrentDecoder(Decoder):
    """A recurrent stack over the target; its first states come out of the encoder's last ones, by a `Bridge`.

    attention: a name in `ATTENTIONS`, an `Attention`, or None: the source is seen through the first states alone, the
        "thought vector" of Sutskever et al. 2014. With attention, the output of the first layer asks, the upper layers
        read [the layer below; context] of the same token (Wu et al. 2016, section 3), and what the head reads is
        W [top layer; context]. So whole targets need no loop over time outside the layers. No tanh around it: it
        saturated in the first steps of small models, before they had learned to attend, and they never did.
        The "coverage" attention reads its own past, and is a loop over time, though the layers are not.
    input_feeding: Luong et al. 2015, section 3.3 instead: the top layer asks, and the first one reads
        [embedded; attentional vector tanh(W [top layer; context]) (eq. 5) of the token before], 0 at first. Training
        then is a loop over time.
    feed_thought: every token is read beside the h of the encoder's last layer after its last token (Cho et al. 2014).
    gnmt: from the third layer on, what a layer reads from below is added to its output (Wu et al. 2016, section 3.1).
    bridge: "learned", "copy" or "zero", see `Bridge`.
    dropout: of what a layer reads from the layer below. need_weights: False saves the weights of an attention that can
        do without, and `Decoded.attention` is None.
    input_size: of an embedded token; source_size: the encoder's output_size. output_size is hidden_size. The other
        arguments are explained at `RecurrentCore`.
    """

    def __init__(
        self,
        input_size: int,
        source_size: int,
        hidden_size: int,
        *,
        core: str | type[Recurrent] = "lstm",
        num_layers: int = 1,
        attention: str | Attention | None = None,
        input_feeding: bool = False,
        feed_thought: bool = False,
        gnmt: bool = False,
        bridge: str = "learned",
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        weight_dropout: float = 0.0,
        remember: int | None = None,
        backend: str = "auto",
        need_weights: bool = True,
    ) -> None:
        super().__init__()
        _check(attention, input_feeding, recurrent_dropout, num_layers)
        self.input_size, self.output_size = input_size, hidden_size
        self.input_feeding, self.feed_thought, self.gnmt = input_feeding, feed_thought, gnmt
        self.dropout, self.need_weights = dropout, need_weights
        self.attention = (
            new_attention(attention, hidden_size, source_size) if isinstance(attention, str) else attention
        )
        # Whether the first layer asks, and the upper ones read the answer.
        self._first_asks = attention is not None and not input_feeding
        first = input_size + (hidden_size if input_feeding else 0) + (source_size if feed_thought else 0)
        upper = hidden_size + (source_size if self._first_asks else 0)
        self.cores = nn.ModuleList(
            RecurrentCore(
                core,
                upper if layer else first,
                hidden_size,
                recurrent_dropout=recurrent_dropout,
                weight_dropout=weight_dropout,
                remember=remember,
                backend=backend,
            )
            for layer in range(num_layers)
        )
        cell = self._core(0)
        self.bridge = Bridge(
            source_size, hidden_size, num_layers, cell.states, kind=bridge, constant=cell.layer.unlearned
        )
        self.combine = None if attention is None else nn.Linear(hidden_size + source_size, hidden_size)

    def forward(self, embedded: Tensor, encoded: Encoded, lengths: Tensor | None = None) -> Decoded:
        """Read whole targets (batch, time, input_size); what stands beyond `lengths` (batch,) has no effect.

        Raises ValueError where `embedded` does not fit the decoder or the source.
        """
        batch = encoded.output.shape[0]
        if embedded.dim() != 3 or embedded.shape[0] != batch or embedded.shape[2] != self.input_size:
            raise ValueError(
                f"embedded has shape {tuple(embedded.shape)}; it must be (batch, time, input_size) = "
                f"({batch}, time, {self.input_size})"
            )
        shared, rows = self._begin(encoded)
        dropped = [self._core(layer).dropped_weights() for layer in range(len(self.cores))]
        if not self.input_feeding:
            return self._read(embedded, rows, shared, lengths, dropped)[0]
        if lengths is not None:
            places = torch.arange(embedded.shape[1], device=embedded.device)
            beyond = places >= lengths.to(embedded.device).unsqueeze(1)
            embedded = embedded.masked_fill(beyond.unsqueeze(-1), 0)
        parts = []
        for token in embedded.unbind(1):
            decoded, rows = self._read(token.unsqueeze(1), rows, shared, None, dropped)
            parts.append(decoded)
        weights = [each.attention for each in parts if each.attention is not None]
        output = torch.cat([each.output for each in parts], dim=1)
        return Decoded(output, torch.cat(weights, dim=1) if weights else None)

    def begin(self, encoded: Encoded) -> DecodingState:
        """The state before the first token, one hypothesis a sentence."""
        return DecodingState(*self._begin(encoded))

    def step(self, embedded: Tensor, state: DecodingState) -> tuple[Decoded, DecodingState]:
        """Read one token of each hypothesis, (sentences * width, input_size), in constant time.

        Raises ValueError where `embedded` does not fit the state, and in training with recurrent_dropout or
        weight_dropout, whose masks are those of a whole target.
        """
        self._check_step(embedded, state)
        decoded, rows = self._read(embedded.unsqueeze(1), state.rows, state.shared, None, None)
        weights = None if decoded.attention is None else decoded.attention.squeeze(1)
        return Decoded(decoded.output.squeeze(1), weights), DecodingState(state.shared, rows)

    def _begin(self, encoded: Encoded) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What a `DecodingState` holds."""
        shared = {} if self.attention is None else self.attention.prepare(encoded)
        if self.feed_thought:
            if "h" not in encoded.states:
                raise ValueError(
                    "feed_thought=True needs the encoder's last h, but it has none; set it to False"
                )
            shared["thought"] = encoded.states["h"][-1]
        return shared, self.first_rows(encoded)

    def first_rows(self, encoded: Encoded) -> dict[str, Tensor]:
        """The rows of a `DecodingState` before the first token, one hypothesis a sentence."""
        first = self.bridge(encoded)
        rows = {f"{name}_{layer}": part for name, each in first.items() for layer, part in enumerate(each)}
        sentences = len(encoded.output)
        if self.input_feeding:
            rows["fed"] = encoded.output.new_zeros(sentences, self.output_size)
        if isinstance(self.attention, CoverageAttention):
            rows["coverage"] = encoded.output.new_zeros(sentences, encoded.output.shape[1])
        return rows

    def _read(
        self,
        embedded: Tensor,
        rows: Mapping[str, Tensor],
        shared: Mapping[str, Tensor],
        lengths: Tensor | None,
        dropped: Sequence[dict[str, Tensor]] | None,
    ) -> tuple[Decoded, dict[str, Tensor]]:
        """The stack over embedded (rows, time, input_size), of one token with input_feeding, and the rows after it.

        rows, shared: those of a `DecodingState`. dropped: the weights that each layer runs on.
        """
        below, context, weights = self._inputs(embedded, rows, shared), None, None
        after: dict[str, Tensor] = {}
        for layer in range(len(self.cores)):
            core, read = self._core(layer), below
            if layer:
                read = functional.dropout(below, self.dropout, self.training)
            if layer and self._first_asks:
                assert context is not None
                read = torch.cat([read, context], dim=-1)
            before = {name: rows[f"{name}_{layer}"].unsqueeze(0) for name in core.states}
            output, last = core(read, before, lengths, dropped[layer] if dropped else {})
            after |= {f"{name}_{layer}": each[0] for name, each in last.items()}
            below = output + below if self.gnmt and layer > 1 else output
            if self.attention is not None and layer == (0 if self._first_asks else len(self.cores) - 1):
                context, weights, covered = self._look(below, rows, shared)
                after |= covered
        if self.combine is not None:
            assert context is not None
            below = self.combine(torch.cat([below, context], dim=-1))
        if self.input_feeding:
            below = torch.tanh(below)
            after["fed"] = below.squeeze(1)
        return Decoded(below, weights), after

    def _look(
        self, query: Tensor, rows: Mapping[str, Tensor], shared: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor | None, dict[str, Tensor]]:
        """Context and weights (rows, time, size), and the coverage; the hypotheses of a sentence ask side by side."""
        assert self.attention is not None
        count, time, size = query.shape
        sentences = shared["padding"].shape[0]
        if not isinstance(self.attention, CoverageAttention):
            asked = query.reshape(sentences, -1, size)
            context, weights = self.attention(asked, shared, need_weights=self.need_weights)
            context = context.reshape(count, time, -1)
            return context, None if weights is None else weights.reshape(count, time, -1), {}
        covered, contexts, spent = rows["coverage"], [], []
        for asked in query.unbind(1):
            source = {**shared, "coverage": covered.view(sentences, -1, covered.shape[1])}
            context, weights = self.attention(asked.reshape(sentences, -1, size), source)
            assert weights is not None
            contexts.append(context.reshape(count, -1))
            spent.append(weights.reshape(count, -1))
            covered = covered + spent[-1]
        return torch.stack(contexts, dim=1), torch.stack(spent, dim=1), {"coverage": covered}

    def _inputs(self, embedded: Tensor, rows: Mapping[str, Tensor], shared: Mapping[str, Tensor]) -> Tensor:
        """What the first layer reads: the token, what was fed, the thought vector."""
        parts, (count, time, _) = [embedded], embedded.shape
        if self.input_feeding:
            parts.append(rows["fed"].unsqueeze(1))
        if self.feed_thought:
            wide = shared["thought"].repeat_interleave(count // len(shared["thought"]), dim=0)
            parts.append(wide.unsqueeze(1).expand(-1, time, -1))
        return torch.cat(parts, dim=-1) if len(parts) > 1 else embedded

    def _core(self, layer: int) -> RecurrentCore:
        core = self.cores[layer]
        assert isinstance(core, RecurrentCore)
        return core

    def _check_step(self, embedded: Tensor, state: DecodingState) -> None:
        rows = len(next(iter(state.rows.values())))
        if embedded.shape != (rows, self.input_size):
            raise ValueError(
                f"embedded has shape {tuple(embedded.shape)}; one token of each hypothesis is (rows, input_size) = "
                f"{(rows, self.input_size)}"
            )
        for name, part in state.shared.items():
            if rows % len(part):
                raise ValueError(
                    f"the state holds {rows} hypotheses and {len(part)} sentences ({name}); every sentence must have "
                    "as many hypotheses as the others"
                )
        core = self._core(0)
        if self.training and (core.layer.rates.recurrent_dropout or core.weight_dropout):
            raise ValueError(
                "recurrent_dropout and weight_dropout draw one mask for a whole target, which a single step does not "
                "know; call the decoder whole, or step() after eval()"
            )


def _check(
    attention: str | Attention | None, input_feeding: bool, recurrent_dropout: float, num_layers: int
) -> None:
    if isinstance(num_layers, bool) or not isinstance(num_layers, int) or num_layers < 1:
        raise ValueError(f"num_layers is {num_layers!r}; it must be a whole number, 1 or more")
    if input_feeding and attention is None:
        raise ValueError(
            "input_feeding=True feeds what attention made of the token before, but attention is None; name an attention"
        )
    if input_feeding and recurrent_dropout:
        raise ValueError(
            "recurrent_dropout hides the same channels for a whole target, which input_feeding=True reads token by "
            "token; take weight_dropout"
        )
