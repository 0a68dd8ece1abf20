"""The packed projection, against torch in float64."""

from __future__ import annotations

import threading

import pytest
import torch

from storyline.kernels import Projection, native, why_no_projection

pytestmark = pytest.mark.skipif(native.missing is not None, reason=str(native.missing))


def draw(seed: int, rows: int, columns: int, depth: int, dtype: torch.dtype, *, bias: bool = True):
    generator = torch.Generator().manual_seed(seed)
    x, weight = (torch.randn(n, depth, generator=generator, dtype=dtype) for n in (rows, columns))
    return x, weight, torch.randn(columns, generator=generator, dtype=dtype) if bias else None


def error(value: torch.Tensor, true: torch.Tensor) -> float:
    return float((value.double() - true).abs().max()) if value.numel() else 0.0


def on_threads(count: int, function):
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        return function()
    finally:
        torch.set_num_threads(before)


SHAPES = [
    (1, 1, 1),
    (1, 700, 256),
    (3, 65, 20),
    (7, 64, 300),
    (40, 1000, 33),
    (130, 333, 512),
    (261, 129, 64),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_product_is_torchs(shape: tuple[int, int, int], dtype: torch.dtype) -> None:
    for bias in (True, False):
        x, weight, b = draw(0, *shape, dtype, bias=bias)
        true = torch.nn.functional.linear(x.double(), weight.double(), None if b is None else b.double())
        plain = error(torch.nn.functional.linear(x, weight, b), true)
        ours = Projection(weight, b)
        assert error(ours(x), true) <= 4 * plain + 1e-7
        wide = torch.cat((x, torch.full_like(x, torch.nan)), 1)[:, : shape[2]]
        for threads in (2, 3):
            assert torch.equal(on_threads(threads, lambda: ours(wide)), ours(x))  # noqa: B023


def test_of_padded_sequences_the_padding_is_not_read() -> None:
    x, weight, bias = draw(4, 40 * 6, 33, 20, torch.float32)
    lengths = torch.randint(1, 7, (40,), generator=torch.Generator().manual_seed(4))
    padded, ours = x.view(40, 6, 20), Projection(weight, bias)
    beyond = torch.arange(6) >= lengths.unsqueeze(1)
    wanted = ours(padded).masked_fill(beyond.unsqueeze(2), 0)
    padded[beyond] = torch.nan
    time_first = padded.transpose(0, 1).contiguous().transpose(0, 1)
    for threads in (1, 3):
        for each in (padded, time_first):
            assert torch.equal(on_threads(threads, lambda: ours.of_sequences(each, lengths)), wanted)  # noqa: B023
    with pytest.raises(ValueError, match=r"\(batch, time, 20\) and \(batch,\)"):
        ours.of_sequences(padded, lengths[:5])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_likeliest_are_those_of_the_log_softmax(shape: tuple[int, int, int], dtype: torch.dtype) -> None:
    x, weight, bias = draw(1, *shape, dtype)
    true = torch.nn.functional.linear(x.double(), weight.double(), bias.double()).log_softmax(1)
    plain = error(torch.nn.functional.linear(x, weight, bias).log_softmax(1), true)
    end = shape[1] // 2
    forbidden = [column for column in (0, shape[1] - 1) if column != end]
    ours = Projection(weight, bias)
    for count in (1, 5, 30):
        best, columns, ending = on_threads(1, lambda: ours.likeliest(x, count, end, forbidden))  # noqa: B023
        count = min(count, shape[1])
        assert best.shape == columns.shape == (shape[0], count)
        left = true.index_fill(1, torch.tensor([end, *forbidden]), -torch.inf)
        wanted = left.topk(count).values
        found = left.gather(1, columns)
        real = wanted > -torch.inf
        # Neighbours closer than the rounding may change places; what is named has the value that is named.
        tolerance = 4 * plain + 1e-7
        assert torch.equal(best > -torch.inf, real)
        assert error(best[real], found[real]) <= tolerance
        assert error(best[real], wanted[real]) <= tolerance
        assert all(
            len(set(row[kept].tolist())) == kept.sum() for row, kept in zip(columns, real, strict=True)
        )
        assert error(ending, true[:, end]) <= tolerance
        for threads in (2, 3):
            again = on_threads(threads, lambda: ours.likeliest(x, count, end, forbidden))  # noqa: B023
            assert all(torch.equal(a, b) for a, b in zip((best, columns, ending), again, strict=True))
        alone = [ours.likeliest(row[None], count, end, forbidden) for row in x[:9]]
        assert torch.equal(torch.cat([each[0] for each in alone]), best[:9])


def test_large_scores_and_what_is_no_number() -> None:
    x, weight, bias = draw(2, 4, 300, 16, torch.float32)
    bias[7], bias[200:] = 3000.0, -torch.inf
    best, columns, ending = Projection(weight, bias).likeliest(x, 3, 7)
    assert torch.equal(ending, torch.zeros(4))
    scores = torch.nn.functional.linear(x, weight, bias).log_softmax(1)
    # Beside 3000 a float32 is known to 2.4e-4, and each side rounds twice there.
    torch.testing.assert_close(best, scores.gather(1, columns), rtol=0, atol=1e-3)
    assert int(columns.max()) < 200
    x[1, 3] = torch.nan
    best, _, ending = Projection(weight, bias).likeliest(x, 3, 7)
    assert torch.equal(best.isnan().any(1), torch.tensor([False, True, False, False]))
    assert torch.equal(ending.isnan(), torch.tensor([False, True, False, False]))


def test_no_rows_and_many_callers_at_once() -> None:
    x, weight, bias = draw(3, 50, 400, 30, torch.float32)
    ours = Projection(weight, bias)
    assert ours(x[:0]).shape == (0, 400)
    assert [each.shape for each in ours.likeliest(x[:0], 2, 0)] == [(0, 2), (0, 2), (0,)]
    wanted, wrong = ours.likeliest(x, 5, 1), []

    def call() -> None:
        for _ in range(20):
            got = ours.likeliest(x, 5, 1)
            wrong.extend(a for a, b in zip(got, wanted, strict=True) if not torch.equal(a, b))

    callers = [threading.Thread(target=call) for _ in range(3)]
    for each in callers:
        each.start()
    for each in callers:
        each.join()
    assert not wrong


def test_what_cannot_be_packed_or_multiplied_is_refused() -> None:
    x, weight, bias = draw(4, 3, 20, 8, torch.float32)
    ours = Projection(weight, bias)
    assert "torch.float16" in (why_no_projection(weight.half()) or "")
    for call, message in [
        (lambda: Projection(weight.half()), "float16"), (lambda: Projection(weight, bias[1:]), r"bias \(19,\)"),
        (lambda: ours(x[:, 1:]), r"it must be \(\.\.\., 8\)"), (lambda: ours(x.double()), "float64 on cpu"),
        (lambda: ours(x.clone().requires_grad_()), "asks for a gradient"),
        (lambda: ours.likeliest(x, 3, 20), "columns from 0 to 19"),
        (lambda: ours.likeliest(x, 3, 1, [-1]), "reach from -1 to 1"),
        (lambda: ours.likeliest(x, 0, 1), "count is 0"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            call()
