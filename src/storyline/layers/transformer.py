"""A Transformer in the place of a recurrent network: it reads forwards, and what it keeps is its state."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from storyline.layers.arguments import check_input, check_lengths
from storyline.layers.multihead import joined
from storyline.layers.transformer_layer import Entrance, TransformerLayer, layer_stack
from storyline.layers.transformer_packing import Packing
from storyline.layers.transformer_positions import PositionKind

# Queries that ask at once where they need a mask of their own: so many rows of it are in memory.
_BLOCK = 512

Cache = tuple[Tensor, ...]


@final
class Transformer(nn.Module):
    """A causal Transformer that is called as LSTM and GRU are: a text may be read whole, in chunks or by step.

    num_heads         of attention in each layer
    feedforward_size  of the network in each layer; None: 4 * hidden_size
    dropout           of the entrance and of what each sublayer adds
    window            how many tokens a layer sees: the last ones, the one it reads included. What it must keep, and the
                      time of a step, then stay the same however long the text; from num_layers * (window - 1) tokens
                      back nothing arrives. None: it keeps and sees all
    positions         "sinusoidal", "rotary" (best with a window: only distances count) or "learned", see `Positions`
    longest_position  so many learned positions there are
    scale             what the input is multiplied by, see `Entrance`; None: sqrt(input_size)

    Layers as in `TransformerEncoder`, normed before each sublayer and once at the end. The state is a tuple of tensors
    with the batch second, as that of the LSTM: `read` (1, batch) int64, how many tokens came before; of each layer
    `cache` (2, batch, heads, tokens, size of a head), keys and values of the last ones, aligned at their end.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        batch_first: bool = False,
        num_heads: int = 4,
        feedforward_size: int | None = None,
        dropout: float = 0.0,
        window: int | None = None,
        positions: PositionKind = "sinusoidal",
        longest_position: int = 1024,
        scale: float | None = None,
    ) -> None:
        super().__init__()
        if window is not None and (isinstance(window, bool) or not isinstance(window, int) or window < 1):
            raise ValueError(
                f"window is {window!r}; it must be a whole number of tokens, 1 or more, or None for all"
            )
        self.layers = layer_stack(hidden_size, num_layers, num_heads, feedforward_size, dropout, positions)
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.num_heads, self.batch_first, self.window = num_heads, batch_first, window
        self.entrance = Entrance(
            input_size, hidden_size, positions, longest_position, num_heads, dropout, scale
        )
        self.norm = nn.LayerNorm(hidden_size)

    def forward(
        self,
        input: Tensor,
        state: Cache | None = None,
        *,
        lengths: Tensor | Sequence[int] | int | None = None,
    ) -> tuple[Tensor, Cache]:
        """Read what follows on what `state` has kept.

        input    (time, batch, input_size); (batch, time, input_size) with batch_first; (time, input_size) for one
                 sequence. What stands beyond `lengths`, NaN too, has no effect
        state    as it was returned; None: `initial_state`
        lengths  (batch,) integers from 1 to time; the padding stands behind. One integer for one sequence

        Returns output (time, batch, hidden_size), 0 beyond `lengths`, and the state after the last token of each row.
        Raises ValueError where an argument does not fit.
        """
        check_input(input, self.input_size, self.norm.weight, self.batch_first)
        batched = input.dim() == 3
        rows = input.unsqueeze(0) if not batched else input if self.batch_first else input.transpose(0, 1)
        batch, time, _ = rows.shape
        ends = check_lengths(lengths, batch if batched else None, time)
        ends = None if ends is None else ends.to(input.device)
        output, after = self._read(rows, ends, self._checked(state, batch, batched))
        if not batched:
            return output.squeeze(0), tuple(each.squeeze(1) for each in after)
        return output if self.batch_first else output.transpose(0, 1), after

    def step(self, input: Tensor, state: Cache | None = None) -> tuple[Tensor, Cache]:
        """Read one token of each sequence, in time that grows with what is kept.

        input (batch, input_size); state as `forward` takes and returns it. Returns output (batch, hidden_size) and the
        state after it.
        """
        if isinstance(input, Tensor) and input.dim() != 2:
            raise ValueError(f"input has {input.dim()} dimensions; one step is (batch, input_size)")
        check_input(input, self.input_size, self.norm.weight, batch_first=True)
        output, after = self._read(input.unsqueeze(1), None, self._checked(state, len(input), batched=True))
        return output.squeeze(1), after

    def initial_state(self, batch_size: int) -> Cache:
        """The state before the first token: nothing read, nothing kept."""
        weight, size = self.norm.weight, self.hidden_size // self.num_heads
        read = torch.zeros(1, batch_size, dtype=torch.int64, device=weight.device)
        return read, *[weight.new_zeros(2, batch_size, self.num_heads, 0, size) for _ in self.layers]

    def extra_repr(self) -> str:
        """The arguments."""
        return f"{self.input_size}, {self.hidden_size}, num_layers={self.num_layers}, window={self.window}"

    def _read(self, rows: Tensor, ends: Tensor | None, state: Cache) -> tuple[Tensor, Cache]:
        """Rows (batch, time, input_size) of `ends` (batch,) tokens, None: all full."""
        batch, time, _ = rows.shape
        read, caches = state[0][0], state[1:]
        steps = torch.arange(time, device=rows.device)
        # Rows that have read equally much need one vector a position for all.
        positions = steps + (read[0] if bool((read == read[0]).all()) else read.unsqueeze(1))
        empty = bool((read < caches[0].shape[3]).any())
        packing = Packing.of(ends, batch, time)
        x, turns = self.entrance(packing.pack(rows), positions, packing)
        after = []
        for layer, cache in zip(cast(Iterable[TransformerLayer], self.layers), caches, strict=True):
            query, keys, values = layer.queries_keys_values(x, packing, turns)
            cache = torch.cat([cache, torch.stack([keys, values])], 3)
            mixed = self._attend(query, cache, read if empty else None)
            x = layer.feed(layer.after_self(x, packing.pack(joined(mixed))))
            after.append(self._kept(cache, time, ends))
        total = read + (time if ends is None else ends)
        return packing.spread(self.norm(x)), (total.unsqueeze(0), *after)

    def _attend(self, query: Tensor, cache: Tensor, read: Tensor | None) -> Tensor:
        """Each query to itself and what came before, as far as the window goes.

        query (batch, heads, time, size), the last of the tokens in cache (2, batch, heads, tokens, size); read
        (batch,): so many tokens came before, where a row has fewer than the cache has slots; None: none has.
        """
        keys, values = cache
        time, tokens = query.shape[2], keys.shape[2]
        all_seen = self.window is None or tokens <= self.window
        if time == 1 and all_seen and read is None:
            return functional.scaled_dot_product_attention(query, keys, values)
        if time == tokens and all_seen:
            return functional.scaled_dot_product_attention(query, keys, values, is_causal=True)
        mixed = []
        for start in range(0, time, _BLOCK):
            asking = torch.arange(start, min(start + _BLOCK, time), device=query.device) + (tokens - time)
            # From the first key that the first of these queries sees to the last one of the last.
            first = 0 if self.window is None else max(0, int(asking[0]) - self.window + 1)
            asked = torch.arange(first, int(asking[-1]) + 1, device=query.device)
            ago = asking.unsqueeze(1) - asked
            seen = ago >= 0 if self.window is None else (ago >= 0) & (ago < self.window)
            if read is not None:
                held = asked >= (tokens - time - read).unsqueeze(1)
                seen = (seen & held.unsqueeze(1)).unsqueeze(1)
            part = slice(first, first + len(asked))
            mixed.append(
                functional.scaled_dot_product_attention(
                    query[:, :, start : start + len(asking)], keys[:, :, part], values[:, :, part], seen
                )
            )
        return torch.cat(mixed, 2)

    def _kept(self, cache: Tensor, time: int, ends: Tensor | None) -> Tensor:
        """The tokens that later ones will see, aligned at their end: of a ragged chunk each row's own."""
        tokens = cache.shape[3]
        if ends is None:
            first = 0 if self.window is None else max(0, tokens - self.window + 1)
            # A copy, where else all of a long chunk would be held.
            return cache[:, :, :, first:].clone() if first else cache
        last = tokens - time + ends
        count = int(last.max()) if self.window is None else min(int(last.max()), self.window - 1)
        slots = last.unsqueeze(1) + torch.arange(-count, 0, device=cache.device)
        # Before a row's first token there is none: what is put there is never seen, since `read` says so.
        index = slots.clamp(min=0)[None, :, None, :, None]
        return cache.gather(3, index.expand(2, -1, cache.shape[2], -1, cache.shape[4]))

    def _checked(self, state: Any, batch: int, batched: bool) -> Cache:
        """The state as `initial_state` shapes it."""
        if state is None:
            return self.initial_state(batch)
        wanted = f"`read` and a cache for each of {self.num_layers} layers, as this layer returned it"
        if not isinstance(state, tuple | list) or len(state) != 1 + self.num_layers:
            kind = (
                f"a {type(state).__name__} of length {len(state)}"
                if isinstance(state, tuple | list)
                else type(state).__name__
            )
            raise ValueError(f"the state must be {wanted}; it is {kind}")
        if not batched:
            state = [each.unsqueeze(1) for each in state]
        read, *caches = state
        shape = (2, batch, self.num_heads, caches[0].shape[-2], self.hidden_size // self.num_heads)
        for name, each, needed in [
            ("read", read, (1, batch)),
            *(("a cache", each, shape) for each in caches),
        ]:
            if tuple(each.shape) != needed:
                raise ValueError(
                    f"the state must be {wanted}; {name} has shape {tuple(each.shape)}, not {needed}"
                )
        return (read, *caches)
