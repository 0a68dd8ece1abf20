"""RNN, LSTM and GRU against torch.nn's: parameters, values, and the gradient of everything."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import storyline.layers as ours

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

TIME, BATCH, INPUT, HIDDEN = 7, 4, 3, 5
LENGTHS = torch.tensor([4, 7, 1, 6])

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "tanh": ("RNN", {}),
    "relu": ("RNN", {"nonlinearity": "relu"}),
    "lstm": ("LSTM", {}),
    "projected": ("LSTM", {"proj_size": 2}),
    "gru": ("GRU", {}),
}
SHAPES: dict[str, dict[str, Any]] = {
    "one": {},
    "both ways": {"bidirectional": True},
    "stacked": {"num_layers": 2, "bias": False},
    "stacked both ways": {"num_layers": 2, "bidirectional": True, "batch_first": True},
}

kinds = pytest.mark.parametrize("kind", KINDS)
shapes = pytest.mark.parametrize("shape", SHAPES)
backends = pytest.mark.parametrize("backend", ["torch", "reference"])


def pair(kind: str, shape: str, backend: str = "auto", **more: Any) -> tuple[ours.Recurrent, nn.RNNBase]:
    """Our layer and torch's, built from one seed."""
    name, arguments = KINDS[kind]
    arguments = {"dtype": torch.float64, **arguments, **SHAPES[shape], **more}
    torch.manual_seed(5)
    mine = getattr(ours, name)(INPUT, HIDDEN, backend=backend, **arguments)
    torch.manual_seed(5)
    return mine, getattr(nn, name)(INPUT, HIDDEN, **arguments)


def draw(layer: nn.RNNBase, batch: int | None = BATCH) -> tuple[Tensor, list[Tensor]]:
    """An input and an initial state for the layer, leaves that want gradients."""
    generator = torch.Generator().manual_seed(11)
    rows = layer.num_layers * (2 if layer.bidirectional else 1)
    sizes = [layer.proj_size or HIDDEN] + [HIDDEN] * (layer.mode == "LSTM")
    middle = [] if batch is None else [batch]
    shape = [*middle, TIME] if layer.batch_first else [TIME, *middle]
    leaves = [torch.randn(*shape, INPUT, generator=generator, dtype=torch.float64)]
    leaves += [torch.randn(rows, *middle, size, generator=generator, dtype=torch.float64) for size in sizes]
    input, *state = [leaf.requires_grad_() for leaf in leaves]
    return input, state


def flat(result: Any) -> list[Tensor]:
    """[output, h_n] or [output, h_n, c_n]."""
    output, last = result
    return [output, *last] if isinstance(last, tuple) else [output, last]


def state_of(state: list[Tensor]) -> Any:
    return tuple(state) if len(state) == 2 else state[0]


def assert_same(
    results: list[Tensor], expected: list[Tensor], leaves: list[Tensor], others: list[Tensor]
) -> None:
    """Same values; same gradients of one random weighing of all of them."""
    generator = torch.Generator().manual_seed(13)
    losses = []
    for a, b in zip(results, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-13)
        weigh = torch.randn(a.shape, generator=generator, dtype=torch.float64)
        losses.append(((a * weigh).sum(), (b * weigh).sum()))
    mine = torch.autograd.grad(sum(a for a, _ in losses), leaves)
    theirs = torch.autograd.grad(sum(b for _, b in losses), others)
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@kinds
@shapes
def test_parameters_are_torchs(kind: str, shape: str) -> None:
    mine, theirs = pair(kind, shape)
    assert [name for name, _ in mine.named_parameters()] == [name for name, _ in theirs.named_parameters()]
    for a, b in zip(mine.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)
    for parameter in theirs.parameters():
        nn.init.normal_(parameter)
    mine.load_state_dict(theirs.state_dict())
    assert list(mine.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict(mine.state_dict())
    for a, b in zip(mine.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)


@kinds
@shapes
@backends
def test_dense(kind: str, shape: str, backend: str) -> None:
    mine, theirs = pair(kind, shape, backend)
    input, state = draw(theirs)
    assert_same(
        flat(mine(input, state_of(state))),
        flat(theirs(input, state_of(state))),
        [input, *state, *mine.parameters()],
        [input, *state, *theirs.parameters()],
    )
    assert mine.last_backend is not None
    assert mine.last_backend[0] == backend


@kinds
@shapes
@backends
def test_ragged_is_packed(kind: str, shape: str, backend: str) -> None:
    mine, theirs = pair(kind, shape, backend)
    input, state = draw(theirs)
    packed = pack_padded_sequence(input, LENGTHS, batch_first=theirs.batch_first, enforce_sorted=False)
    output, last = theirs(packed, state_of(state))
    padded, _ = pad_packed_sequence(output, batch_first=theirs.batch_first)
    assert_same(
        flat(mine(input, state_of(state), lengths=LENGTHS)),
        flat((padded, last)),
        [input, *state, *mine.parameters()],
        [input, *state, *theirs.parameters()],
    )


@kinds
@shapes
@backends
@pytest.mark.parametrize("ragged", [False, True], ids=["full", "ragged"])
def test_resets_are_segments_run_alone(kind: str, shape: str, backend: str, ragged: bool) -> None:
    """Every segment through torch's layer by itself: what a reset means, in both directions and all layers.

    For one layer: in a stack the directions would have to be cut layer by layer, so each layer of torch's
    is run by itself, forward and reverse apart.
    """
    mine, theirs = pair(kind, shape, backend)
    input, state = draw(theirs)
    lengths = LENGTHS if ragged else torch.full((BATCH,), TIME)
    resets = torch.zeros(TIME, BATCH, dtype=torch.bool)
    resets[[2, 3, 5, 0, 4, 6, 0, 1], [0, 0, 0, 1, 1, 1, 2, 3]] = True
    result = mine(
        input,
        state_of(state),
        lengths=LENGTHS if ragged else None,
        resets=resets.T if theirs.batch_first else resets,
    )
    expected = segments_alone(theirs, input, state, resets, lengths.tolist())
    assert_same(
        flat(result),
        expected,
        [input, *state, *mine.parameters()],
        [input, *state, *theirs.parameters()],
    )


def segments_alone(
    layer: nn.RNNBase, input: Tensor, state: list[Tensor], resets: Tensor, lengths: list[int]
) -> list[Tensor]:
    """[output, h_n(, c_n)] from calls of a one-layer, one-direction torch layer on one segment each."""
    below = input.transpose(0, 1) if layer.batch_first else input
    last: list[list[Tensor]] = []
    for depth in range(layer.num_layers):
        halves = []
        for direction in range(2 if layer.bidirectional else 1):
            index = len(last)
            suffix = f"_l{depth}" + "_reverse" * direction
            rows = [
                row_alone(layer, suffix, below[:length, row], [s[index, row] for s in state], resets[:, row])
                for row, length in enumerate(lengths)
            ]
            padded = [nn.functional.pad(output, (0, 0, 0, TIME - len(output))) for output, _ in rows]
            halves.append(torch.stack(padded, dim=1))
            last.append([torch.stack(each) for each in zip(*(final for _, final in rows), strict=True)])
        below = torch.cat(halves, dim=-1)
    output = below.transpose(0, 1) if layer.batch_first else below
    return [output, *(torch.stack(each) for each in zip(*last, strict=True))]


def row_alone(
    layer: nn.RNNBase, suffix: str, steps: Tensor, state: list[Tensor], resets: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """One row of one layer in one direction: (output, last state)."""
    reverse = suffix.endswith("_reverse")
    cuts = [t for t in range(1, len(steps)) if resets[t]]
    pieces = list(steps.tensor_split(cuts))
    if not reverse and resets[0]:
        state = [torch.zeros_like(each) for each in state]
    single = type(layer)(
        steps.shape[1],
        HIDDEN,
        bias=layer.bias,
        dtype=torch.float64,
        **({"proj_size": layer.proj_size} if layer.proj_size else {}),
        **({"nonlinearity": layer.nonlinearity} if layer.mode.startswith("RNN") else {}),
    )
    weights = {
        name: getattr(layer, name.removesuffix("_l0") + suffix) for name, _ in single.named_parameters()
    }
    outputs = []
    for piece in reversed(pieces) if reverse else pieces:
        given = state_of([each.unsqueeze(0) for each in state])
        read = piece.flip(0) if reverse else piece
        output, *final = flat(torch.func.functional_call(single, weights, (read, given)))
        outputs.append(output.flip(0) if reverse else output)
        end = [each.squeeze(0) for each in final]
        state = [torch.zeros_like(each) for each in end]
    return torch.cat(outputs[::-1] if reverse else outputs), end


@kinds
@pytest.mark.parametrize("shape", ["one", "stacked both ways"])
@backends
def test_unbatched(kind: str, shape: str, backend: str) -> None:
    mine, theirs = pair(kind, shape, backend, batch_first=False)
    input, state = draw(theirs, batch=None)
    expected = flat(theirs(input, state_of(state)))
    for a, b in zip(flat(mine(input, state_of(state))), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-13)
    short = flat(theirs(input[:4], state_of(state)))
    cut = flat(mine(input, state_of(state), lengths=4))
    for same in (torch.tensor(4), [4]):
        assert torch.equal(mine(input, state_of(state), lengths=same)[0], cut[0])
    torch.testing.assert_close(cut[0][:4], short[0], rtol=0, atol=1e-13)
    assert not cut[0][4:].any()
    for a, b in zip(cut[1:], short[1:], strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-13)


@backends
def test_resets_of_one_sequence(backend: str) -> None:
    layer, _ = pair("lstm", "one", backend)
    input, _ = draw(layer, batch=None)
    resets = torch.arange(TIME) == 3
    output, _ = layer(input, resets=resets)
    torch.testing.assert_close(output[3:], layer(input[3:])[0], rtol=0, atol=1e-13)
    torch.testing.assert_close(output[:3], layer(input[:3])[0], rtol=0, atol=1e-13)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
@backends
def test_dropout_between_layers_draws_what_torch_draws(kind: str, backend: str) -> None:
    mine, theirs = pair(kind, "stacked", backend, dropout=0.5)
    input, _ = draw(theirs)
    results = []
    for layer in (mine, theirs):
        torch.manual_seed(1)
        results.append(flat(layer(input)))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-13)
    torch.testing.assert_close(mine.eval()(input)[0], theirs.eval()(input)[0], rtol=0, atol=1e-13)


def test_dropout_on_one_layer_warns_as_torch_does() -> None:
    with pytest.warns(UserWarning, match="dropout option adds dropout after all but last"):
        ours.LSTM(INPUT, HIDDEN, dropout=0.5)


@pytest.mark.parametrize("kind", ["tanh", "lstm", "gru"])
def test_default_arguments_and_float32(kind: str) -> None:
    mine, theirs = pair(kind, "both ways", dtype=None)
    input = torch.randn(TIME, BATCH, INPUT)
    for a, b in zip(flat(mine(input)), flat(theirs(input)), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)
    mine.backend = "torch"  # the very operators that torch.nn calls
    for a, b in zip(flat(mine(input)), flat(theirs(input)), strict=True):
        assert torch.equal(a, b)
    packed = theirs(pack_padded_sequence(input, LENGTHS, enforce_sorted=False))
    torch.testing.assert_close(mine(input, lengths=LENGTHS.tolist())[0], pad_packed_sequence(packed[0])[0])


@pytest.mark.parametrize("learned", [False, True])
def test_copies_and_round_trips(learned: bool) -> None:
    layer = ours.LSTM(INPUT, HIDDEN, 2, bidirectional=True, learn_initial_state=learned)
    input = torch.randn(TIME, BATCH, INPUT)
    output = layer(input, lengths=LENGTHS)[0]
    extra = {"h_0", "c_0"} if learned else set()
    assert (
        set(layer.state_dict())
        == {name for name, _ in pair("lstm", "stacked both ways", bias=True)[1].named_parameters()} | extra
    )
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(input, lengths=LENGTHS)[0], output)
        twin.to(torch.float64)
        torch.testing.assert_close(twin(input.double(), lengths=LENGTHS)[0].float(), output)
    fresh = ours.LSTM(INPUT, HIDDEN, 2, bidirectional=True, learn_initial_state=learned)
    fresh.load_state_dict(layer.state_dict())
    assert torch.equal(fresh(input, lengths=LENGTHS)[0], output)


def test_gradients_in_evaluation_mode() -> None:
    layer = ours.LSTM(INPUT, HIDDEN).eval()
    input = torch.randn(TIME, BATCH, INPUT, requires_grad=True)
    layer(input)[0][-1].sum().backward()
    assert input.grad is not None
    assert input.grad[0].abs().sum() > 0
