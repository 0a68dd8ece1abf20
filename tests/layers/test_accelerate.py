"""accelerate() and restore(): a user's model computes the same, and is the same again."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from storyline import accelerate, restore
from storyline.layers import Recurrent, agreement

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

TIME, BATCH, INPUT, HIDDEN = 6, 4, 3, 5
LENGTHS = torch.tensor([2, 6, 1, 6])
KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "tanh": (nn.RNN, {}),
    "relu": (nn.RNN, {"nonlinearity": "relu"}),
    "lstm": (nn.LSTM, {}),
    "projected": (nn.LSTM, {"proj_size": 2}),
    "gru": (nn.GRU, {}),
}
SHAPES: dict[str, dict[str, Any]] = {
    "one": {},
    "stacked both ways": {"num_layers": 2, "bidirectional": True, "batch_first": True},
    "no bias": {"bias": False, "num_layers": 2},
}
kinds = pytest.mark.parametrize("kind", KINDS)
shapes = pytest.mark.parametrize("shape", SHAPES)


def build(kind: str, shape: str = "one", **more: Any) -> nn.RNNBase:
    torch.manual_seed(3)
    make, arguments = KINDS[kind]
    return make(INPUT, HIDDEN, **{"dtype": torch.float64, **arguments, **SHAPES[shape], **more})


def draw(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def flat(result: Any) -> list[Tensor]:
    output, last = result
    output = output.data if isinstance(output, PackedSequence) else output
    return [output, *last] if isinstance(last, tuple) else [output, last]


def everything(layer: nn.RNNBase, given: Any, leaf: Tensor, batch: int | None, graph: bool) -> list[Tensor]:
    """Output, last state and all gradients of a call with an initial state."""
    rows, middle = layer.num_layers * (1 + layer.bidirectional), [] if batch is None else [batch]
    sizes = [layer.proj_size or HIDDEN] + [HIDDEN] * (layer.mode == "LSTM")
    state = [draw(rows, *middle, size).requires_grad_() for size in sizes]
    results = flat(layer(given, tuple(state) if len(state) > 1 else state[0]))
    loss = sum(each.square().sum() for each in results)
    return [*results, *torch.autograd.grad(loss, [leaf, *state, *layer.parameters()], retain_graph=graph)]


@kinds
@shapes
@pytest.mark.parametrize("call", ["dense", "unbatched", "packed", "packed in order"])
def test_the_numbers_are_those_of_torch(kind: str, shape: str, call: str) -> None:
    theirs, mine = build(kind, shape), build(kind, shape)
    accelerate(mine)
    assert isinstance(mine, Recurrent)
    batch = None if call == "unbatched" else BATCH
    leaf = draw(TIME, INPUT) if batch is None else draw(TIME, batch, INPUT)
    given: Any = leaf.requires_grad_()
    if batch is not None and theirs.batch_first:
        given = given.transpose(0, 1)
    if call.startswith("packed"):
        ordered = call == "packed in order"
        lengths = LENGTHS.sort(descending=True).values if ordered else LENGTHS
        given = pack_padded_sequence(given, lengths, theirs.batch_first, enforce_sorted=ordered)
    wanted = everything(theirs, given, leaf, batch, True)
    for a, b in zip(everything(mine, given, leaf, batch, False), wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_packed_in_and_packed_alike_out() -> None:
    theirs, mine = build("gru"), build("gru")
    accelerate(mine)
    packed = pack_padded_sequence(draw(TIME, BATCH, INPUT), LENGTHS, enforce_sorted=False)
    wanted, found = theirs(packed)[0], mine(packed)[0]
    for name in ("batch_sizes", "sorted_indices", "unsorted_indices"):
        assert torch.equal(getattr(found, name), getattr(wanted, name))
    for a, b in zip(pad_packed_sequence(found), pad_packed_sequence(wanted), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="input is a PackedSequence, which has its own lengths"):
        mine(packed, lengths=LENGTHS)


class Model(nn.Module):
    """A user's: layers of each kind, one of them shared, one frozen, one a subclass."""

    class Changed(nn.LSTM):
        """Anything may differ in here."""

    def __init__(self) -> None:
        super().__init__()
        self.read = nn.LSTM(INPUT, HIDDEN, num_layers=2, dropout=0.5)
        self.again = nn.ModuleList([nn.GRU(HIDDEN, HIDDEN), nn.RNN(HIDDEN, HIDDEN).requires_grad_(False)])
        self.shared = self.again[0]
        self.changed = self.Changed(INPUT, HIDDEN)
        self.cell = nn.GRUCell(INPUT, HIDDEN)

    def forward(self, input: Tensor) -> Tensor:
        output = self.read(input)[0]
        for layer in (*self.again, self.shared):
            output = layer(output)[0]
        return output


def test_a_model_goes_on_as_before() -> None:
    torch.manual_seed(0)
    model, twin = Model().eval(), Model().train()
    twin.load_state_dict(model.state_dict())
    twin.eval()
    seen: list[str] = []
    model.shared.register_forward_hook(lambda *_: seen.append("forward"))
    model.shared.register_full_backward_hook(lambda *_: seen.append("backward"))
    held = [*model.modules()]
    numbers, stream, keys = [*model.parameters()], torch.get_rng_state(), list(model.state_dict())
    optimizer = torch.optim.SGD((p for p in model.parameters() if p.requires_grad), lr=0.1)

    report = accelerate(model)

    assert torch.equal(stream, torch.get_rng_state())
    assert seen == []
    assert report.model is model
    assert all(a is b for a, b in zip(held, model.modules(), strict=True))
    assert all(a is b for a, b in zip(numbers, model.parameters(), strict=True))
    assert list(model.state_dict()) == keys
    assert not model.read.training
    assert isinstance(model.shared, Recurrent)
    assert model.shared is model.again[0]
    assert not model.again[1].weight_hh_l0.requires_grad
    lines = str(report).splitlines()
    assert lines[0].startswith("accelerated 3 of 5 recurrent modules, checked on the spot")
    assert lines[1].startswith("  read: LSTM 3 -> 5, 2 layers; backend ")
    assert "; deviation " in lines[1]
    assert lines[2].startswith("  again.0 = shared: GRU 5 -> 5; backend ")
    assert (
        lines[4]
        == "  changed: Changed 3 -> 5; left alone: a subclass of nn.LSTM, whose changes would be lost"
    )
    assert lines[5] == "  cell: GRUCell 3 -> 5; left alone: a single step; only whole layers are swapped"

    input = draw(TIME, BATCH, INPUT).float()
    other = torch.optim.SGD((p for p in twin.parameters() if p.requires_grad), lr=0.1)
    for one, opt in ((model, optimizer), (twin, other)):
        one(input).square().sum().backward()
        opt.step()
    assert seen == ["forward", "forward", "backward", "backward"]
    torch.testing.assert_close(model.state_dict(), twin.state_dict(), rtol=0, atol=1e-6)


def test_restored_it_is_what_it_was_with_the_weights_of_now() -> None:
    model, twin = Model(), Model()
    before = [dict.fromkeys(vars(module)) for module in model.modules()]
    assert str(accelerate(nn.Linear(2, 2))).startswith("nothing to accelerate: the model holds no nn.RNN")
    accelerate(model)
    once = [type(each) for each in model.modules()]
    assert "again.0 = shared: GRU 5 -> 5; left alone: accelerated before" in str(accelerate(model))
    assert [type(each) for each in model.modules()] == once
    model.double()
    nn.init.ones_(model.read.weight_hh_l1)
    assert restore(model) == ("read", "again.0", "again.1")
    assert [type(each) for each in model.modules()] == [type(each) for each in twin.modules()]
    assert [dict.fromkeys(vars(module)) for module in model.modules()] == before
    twin.double().load_state_dict(model.state_dict())
    input = draw(TIME, BATCH, INPUT)
    assert torch.equal(model.eval()(input), twin.eval()(input))
    assert restore(model) == ()


def test_a_model_that_is_a_layer() -> None:
    layer = build("lstm")
    report = accelerate(layer)
    assert report.model is layer
    assert isinstance(layer, Recurrent)
    assert "  (the model): LSTM 3 -> 5; backend " in repr(report)
    assert restore(layer) == ("",)
    assert type(layer) is nn.LSTM


def test_copies_pickles_and_state_dicts() -> None:
    layer, plain = build("lstm", "stacked both ways"), build("lstm", "stacked both ways")
    accelerate(layer)
    input = draw(BATCH, TIME, INPUT)
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    plain.load_state_dict(torch.load(file))
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), plain):
        torch.testing.assert_close(flat(other(input)), flat(layer(input)), rtol=0, atol=1e-12)
        assert restore(other) == (() if other is plain else ("",))
        torch.testing.assert_close(flat(other(input)), flat(layer(input)), rtol=0, atol=1e-12)


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
def test_reparametrized_weights() -> None:
    """weight_norm by a hook is carried over, weight_norm by a parametrization is left alone."""
    layers = [nn.utils.weight_norm(build("gru"), "weight_hh_l0") for _ in range(2)]
    accelerate(layers[1])
    assert isinstance(layers[1], Recurrent)
    for layer in layers:
        layer(draw(TIME, BATCH, INPUT))[0].sum().backward()
    torch.testing.assert_close(
        layers[1].weight_hh_l0_g.grad, layers[0].weight_hh_l0_g.grad, rtol=0, atol=1e-12
    )
    by_class = nn.utils.parametrizations.weight_norm(build("gru"), "weight_hh_l0")
    (swap,) = accelerate(by_class).swaps
    assert swap.left_alone == "its weights are parametrized, which gives it a class of its own"


def test_what_cannot_be_tried_is_left_alone() -> None:
    on_meta, by_hand = build("gru", device="meta"), build("gru")
    by_hand.forward = lambda input: input
    reasons = ("on the meta device", "its forward was replaced by hand")
    for layer, reason in zip((on_meta, by_hand), reasons, strict=True):
        (swap,) = accelerate(layer).swaps
        assert reason in str(swap.left_alone)
        assert type(layer) is nn.GRU


def test_numbers_that_differ_leave_the_layer_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = agreement.stand_in

    def skewed(module: nn.RNNBase, backend: str) -> None:
        honest(module, backend)
        with torch.no_grad():
            module.bias_hh_l0.add_(1e-5)

    monkeypatch.setattr(agreement, "stand_in", skewed)
    # The twins of a float64 module share its weights; those of a float32 one do too, so each has its own.
    monkeypatch.setattr(agreement, "_twin", lambda module, device, dtype: copy.deepcopy(module).to(dtype))
    layer = build("gru", dtype=torch.float32)
    (swap,) = accelerate(layer).swaps
    assert str(swap.left_alone).startswith("its numbers would differ: deviation ")
    assert swap.agreement is not None
    assert 1e-6 < swap.agreement.deviation < 1e-3
    assert type(layer) is nn.GRU
    with torch.no_grad():
        layer.weight_ih_l0[0, 0] = torch.nan
    assert "differ: deviation nan" in str(accelerate(layer).swaps[0].left_alone)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_accelerated_where_gradients_are_off(mode: Any) -> None:
    with mode():
        layer = build("lstm")
        assert accelerate(layer).swaps[0].left_alone is None
        assert layer(draw(TIME, BATCH, INPUT))[0].shape == (TIME, BATCH, HIDDEN)


def test_what_is_no_model_and_no_backend() -> None:
    for call in (accelerate, restore):
        with pytest.raises(TypeError, match=r"model is a Tensor; it must be a torch\.nn\.Module"):
            call(torch.zeros(1))  # type: ignore[operator]
    layer = build("gru")
    with pytest.raises(ValueError, match="backend is 'fast'; it must be one of 'auto'"):
        accelerate(layer, backend="fast")
    assert type(layer) is nn.GRU
