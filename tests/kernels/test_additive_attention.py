"""Additive attention of a search, against its formula in float64."""

from __future__ import annotations

import pytest
import torch

from storyline.kernels import attend, native, prepared_source

pytestmark = pytest.mark.skipif(native.missing is not None, reason=str(native.missing))


def plain(query, keys, vector, values, lengths, sentences):
    """The weights of each query one by one, and the context."""
    context, weights = [], torch.zeros(len(query), keys.shape[1], dtype=query.dtype)
    width = len(query) // len(sentences)
    for row, asked in enumerate(query):
        place = int(sentences[row // width])
        length = int(lengths[place])
        scores = torch.tanh(asked + keys[place, :length]) @ vector
        weights[row, :length] = scores.softmax(0)
        context.append(weights[row, :length] @ values[place, :length])
    return torch.stack(context), weights


def draw(dtype: torch.dtype, size: int, read: int, *, scale: float = 1.0, width: int = 5):
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype)

    lengths = torch.tensor([3, 9, 1, 6])
    keys, values = scale * normal(4, 9, size), normal(4, 9, read)
    for row, length in enumerate(lengths.tolist()):
        keys[row, length:] = values[row, length:] = torch.nan
    sentences = torch.tensor([1, 3, 0])
    return scale * normal(3 * width, size), keys, normal(size), values, lengths, sentences


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("size", "read", "scale", "width"),
    [(1, 1, 1.0, 1), (13, 21, 3.0, 7), (64, 100, 1.0, 5), (24, 16, 12.0, 5)],
)
def test_context_and_weights_are_those_of_the_formula(
    size: int, read: int, scale: float, width: int, dtype: torch.dtype
) -> None:
    query, keys, vector, values, lengths, sentences = draw(dtype, size, read, scale=scale, width=width)
    source = prepared_source(keys, values, lengths)
    if scale == 12.0:
        assert source["large"].any(), "keys beyond 14 take another way"
        keys[2] = 0.5
        query[0, 0], query[1, 0], query[2, 0] = 1e30, -1e30, 60.0
    given = (query, keys, vector, values, lengths, sentences)
    true = plain(*(each.double() if each.is_floating_point() else each for each in given))
    same = plain(*given)
    source = prepared_source(keys, values, lengths)
    ours = attend(query, vector, source, sentences)
    for mine, theirs, right in zip(ours, same, true, strict=True):
        assert mine.dtype == dtype
        assert (mine.double() - right).abs().max() <= 4 * (theirs.double() - right).abs().max() + 1e-7
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    again = attend(query, vector, source, sentences)
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(again, ours, strict=True))
    # A hypothesis alone, and the sentences in another order, have the same bits.
    alone = [
        attend(query[i * width : i * width + 1], vector, source, each[None])
        for i, each in enumerate(sentences)
    ]
    assert torch.equal(torch.cat([each[0] for each in alone]), ours[0][::width])
    rows = query.view(3, width, size)[[2, 0]].flatten(0, 1)
    assert torch.equal(
        attend(rows, vector, source, sentences[[2, 0]])[1], ours[1].view(3, width, -1)[[2, 0]].flatten(0, 1)
    )


def test_all_sentences_none_and_what_is_no_number() -> None:
    query, keys, vector, values, lengths, _ = draw(torch.float32, 8, 4, width=4)
    source = prepared_source(keys, values, lengths)
    given = query[:4], vector, source
    assert torch.equal(attend(*given)[0], attend(*given, torch.arange(4))[0])
    context, weights = attend(query[:0], vector, source, torch.arange(0))
    assert context.shape == (0, 4)
    assert weights.shape == (0, 9)
    query[1, 3] = torch.nan
    assert torch.equal(attend(*given)[0].isnan().any(1), torch.tensor([False, True, False, False]))


def test_what_does_not_fit_is_refused() -> None:
    query, keys, vector, values, lengths, sentences = draw(torch.float32, 8, 4)
    source = prepared_source(keys, values, lengths)
    for call, message in [
        (lambda: attend(query[:, 1:], vector, source, sentences), r"must be \(sentences \* width, 8\)"),
        (lambda: attend(query[1:], vector, source, sentences), "of 3 sentences"),
        (lambda: attend(query, vector[1:], source, sentences), r"vector \(7,\)"),
        (lambda: attend(query.double(), vector, source, sentences), "one is torch.float64"),
        (lambda: attend(query.requires_grad_(), vector, source, sentences), "gradient"),
        (lambda: attend(query.detach(), vector, source, sentences.int()), "sentences are .*int32"),
        (lambda: attend(query.detach(), vector, source, sentences.to("meta")), "on meta; they must be"),
        (lambda: attend(query.detach(), vector, source, sentences + 1), r"sentences\[1\] is 4; .* 0 to 3"),
        (lambda: attend(query.detach(), vector, source, sentences - 1), r"sentences\[2\] is -1"),
        *[
            (lambda part=part: attend(query.detach(), vector, source | part, sentences), message)
            for part, message in [
                ({"lengths": lengths.int()}, r"lengths of the source .*int32"),
                ({"lengths": lengths + 1}, r"lengths of the source\[1\] is 10; it must be from 1 to 9"),
                ({"lengths": lengths[:3]}, "of 4 sentences"),
                ({"projected": values.double()}, "projected of the source .*float64"),
                ({"projected": values.transpose(0, 1)}, "must be dense"),
            ]
        ],
    ]:
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize("whole", [torch.uint8, torch.int16, torch.int32])
def test_lengths_of_any_integers_are_those(whole: torch.dtype) -> None:
    query, keys, vector, values, lengths, sentences = draw(torch.float32, 8, 4)
    ours = attend(query, vector, prepared_source(keys, values, lengths.to(whole)), sentences)
    wanted = attend(query, vector, prepared_source(keys, values, lengths), sentences)
    assert all(torch.equal(a, b) for a, b in zip(ours, wanted, strict=True))


def test_a_source_that_does_not_fit_is_refused() -> None:
    _, keys, _, values, lengths, _ = draw(torch.float32, 8, 4)
    for given, message in [
        ((keys, values.double(), lengths), "values torch.float64"),
        ((keys.half(), values.half(), lengths), "keys are torch.float16"),
        ((keys, values[:, 1:], lengths), r"values \(4, 8, 4\)"),
        ((keys, values, lengths[1:]), r"lengths \(3,\)"),
        ((keys, values, lengths.float()), "whole numbers"),
        ((keys, values, lengths.to("meta")), "lengths on meta"),
        ((keys, values, lengths + 1), r"lengths\[1\] is 10; .* at most 9"),
        ((keys, values, lengths - 1), r"lengths\[2\] is 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            prepared_source(*given)


def test_a_default_device_changes_nothing() -> None:
    query, keys, vector, values, lengths, _ = draw(torch.float32, 8, 4, width=4)
    wanted = attend(query, vector, prepared_source(keys, values, lengths))
    with torch.device("meta"):
        ours = attend(query, vector, prepared_source(keys, values, lengths))
    assert all(torch.equal(a, b) for a, b in zip(ours, wanted, strict=True))
