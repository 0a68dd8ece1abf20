"""The index arithmetic against loops over rows."""

from __future__ import annotations

from itertools import pairwise

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from storyline.kernels import Ragged, reverse_resets
from storyline.kernels.ragged import Segments


@st.composite
def batches(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor]:
    """(lengths, resets (time, batch))."""
    time, batch = draw(st.integers(1, 9)), draw(st.integers(1, 5))
    lengths = draw(st.lists(st.integers(1, time), min_size=batch, max_size=batch))
    bits = draw(st.lists(st.booleans(), min_size=time * batch, max_size=time * batch))
    return torch.tensor(lengths), torch.tensor(bits).view(time, batch)


def numbered(time: int, batch: int) -> torch.Tensor:
    """(time, batch, 2): every step another number."""
    return torch.arange(time * batch * 2.0).view(time, batch, 2)


@settings(deadline=None, max_examples=60)
@given(batches())
def test_flip_turns_each_row_within_its_length(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    lengths, resets = batch
    time, rows = resets.shape
    ragged, x, states = Ragged(lengths, time), numbered(time, rows), numbered(time + 1, rows)
    for row, length in enumerate(lengths.tolist()):
        assert torch.equal(ragged.flip(x)[:length, row], x[:length, row].flip(0))
        assert torch.equal(ragged.flip(x)[length:, row], x[length:, row])
        assert torch.equal(ragged.flip_states(states)[: length + 1, row], states[: length + 1, row].flip(0))
        assert (ragged.flip_states(states)[length:, row] == states[0, row]).all()
        assert torch.equal(ragged.last(x)[row], x[length - 1, row])
        assert not ragged.clear(x + 1)[length:, row].any()
        assert torch.equal(ragged.clear(x)[:length, row], x[:length, row])


@settings(deadline=None, max_examples=60)
@given(batches())
def test_segments_are_the_pieces_between_resets(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    lengths, resets = batch
    time, rows = resets.shape
    x = numbered(time, rows)
    segments = Segments.cut(resets, lengths)
    pieces = segments.split(x)
    expected = []
    for row, length in enumerate(lengths.tolist()):
        cuts = [0, *(t for t in range(1, length) if resets[t, row]), length]
        for start, end in pairwise(cuts):
            expected.append((row, x[start:end, row], start == 0 and not bool(resets[0, row])))
        assert int(segments.last[row]) == len(expected) - 1
    assert segments.row.tolist() == [row for row, _, _ in expected]
    assert segments.continues.tolist() == [continues for _, _, continues in expected]
    for k, (_, steps, _) in enumerate(expected):
        assert int(segments.lengths[k]) == len(steps)
        assert torch.equal(pieces[: len(steps), k], steps)
    inside = Ragged(lengths, time).inside
    assert torch.equal(torch.where(inside, segments.join(pieces), 0), torch.where(inside, x, 0))


@settings(deadline=None, max_examples=60)
@given(batches())
def test_reversed_resets_cut_between_the_same_steps(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    lengths, resets = batch
    turned = reverse_resets(resets, lengths)
    for row, length in enumerate(lengths.tolist()):
        pairs = {(t - 1, t) for t in range(1, length) if resets[t, row]}
        # position s read backwards is step length - 1 - s
        backwards = {(length - 1 - s, length - s) for s in range(1, length) if turned[s, row]}
        assert backwards == pairs
        assert not turned[0, row]
        assert not turned[length:, row].any()
