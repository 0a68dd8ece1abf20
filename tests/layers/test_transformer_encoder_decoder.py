"""Transformer encoder and decoder, against torch.nn's layers, a NumPy transcription, and the laws of decoding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from storyline.layers.decoding import Encoded
from storyline.layers.transformer_decoder import TransformerDecoder
from storyline.layers.transformer_encoder import TransformerEncoder
from storyline.layers.transformer_positions import sinusoids

SIZE, HEADS, WIDE, LAYERS = 8, 2, 12, 2
EXACT: dict[str, Any] = {"rtol": 0, "atol": 1e-12}


def encoder(input_size: int = SIZE, **more: Any) -> TransformerEncoder:
    torch.manual_seed(1)
    made = TransformerEncoder(
        input_size, SIZE, num_layers=LAYERS, num_heads=HEADS, feedforward_size=WIDE, **more
    )
    return disturbed(made)


def decoder(input_size: int = SIZE, source_size: int = SIZE, **more: Any) -> TransformerDecoder:
    torch.manual_seed(2)
    made = TransformerDecoder(
        input_size, source_size, SIZE, num_layers=LAYERS, num_heads=HEADS, feedforward_size=WIDE, **more
    )
    return disturbed(made)


def disturbed(module: Any) -> Any:
    """In float64, with biases and norms that are not what they start as, so that leaving one out is seen."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module.double()


def batch(rows: int, steps: int, size: int = SIZE) -> Tensor:
    return torch.randn(rows, steps, size, dtype=torch.float64)


def entered(x: Tensor, size: int) -> Tensor:
    """What the first layer reads where there is no linear map."""
    steps = np.arange(x.shape[1])[:, None]
    angle = steps / 10_000 ** (np.arange(0, size, 2) / size)
    table = np.empty((len(steps), size))
    table[:, 0::2], table[:, 1::2] = np.sin(angle), np.cos(angle)
    return x * size**0.5 + torch.from_numpy(table)


def torch_twin(ours: nn.Module, kind: str) -> nn.Module:
    layer = getattr(nn, f"Transformer{kind}Layer")(SIZE, HEADS, WIDE, 0.0, batch_first=True, norm_first=True)
    more = {"enable_nested_tensor": False} if kind == "Encoder" else {}
    theirs = getattr(nn, f"Transformer{kind}")(layer, LAYERS, norm=nn.LayerNorm(SIZE), **more).double()
    theirs.load_state_dict(ours.state_dict())
    return theirs


def same_gradients(ours: nn.Module, theirs: nn.Module) -> None:
    wanted = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, wanted[name].grad, **EXACT, msg=name)


def test_the_encoder_is_torchs() -> None:
    ours = encoder()
    theirs = torch_twin(ours, "Encoder")
    x, weights = batch(3, 5), batch(3, 5)
    lengths = torch.tensor([5, 2, 4])
    padding = torch.arange(5) >= lengths[:, None]
    read = ours(x.masked_fill(padding[..., None], torch.nan), lengths)
    wanted = theirs(entered(x, SIZE), src_key_padding_mask=padding).masked_fill(padding[..., None], 0)
    torch.testing.assert_close(read.output, wanted, **EXACT)
    (read.output * weights).sum().backward()
    (wanted * weights).sum().backward()
    same_gradients(ours, theirs)


def test_the_decoder_is_torchs() -> None:
    ours = decoder()
    theirs = torch_twin(ours, "Decoder")
    x, source, weights = batch(3, 4), batch(3, 5), batch(3, 4)
    lengths, ends = torch.tensor([5, 2, 4]), torch.tensor([3, 4, 1])
    padding, beyond = torch.arange(5) >= lengths[:, None], (torch.arange(4) >= ends[:, None])[..., None]
    encoded = Encoded(source.masked_fill(padding[..., None], torch.nan).requires_grad_(), lengths)
    read = ours(x.masked_fill(beyond, torch.nan), encoded, ends)
    twin = source.clone().requires_grad_()
    wanted = theirs(
        entered(x, SIZE), twin, tgt_mask=nn.Transformer.generate_square_subsequent_mask(4, dtype=torch.float64),
        memory_key_padding_mask=padding,
    ).masked_fill(beyond, 0)  # fmt: skip
    torch.testing.assert_close(read.output, wanted, **EXACT)
    (read.output * weights).sum().backward()
    (wanted * weights).sum().backward()
    same_gradients(ours, theirs)
    torch.testing.assert_close(encoded.output.grad, twin.grad, **EXACT)


def numpy_attention(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, seen: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """One sentence, head by head: Vaswani et al. 2017, eq. 1."""
    mixed, all_weights, size = np.empty_like(q), [], q.shape[1] // HEADS
    for head in range(HEADS):
        part = slice(head * size, (head + 1) * size)
        scores = np.where(seen, q[:, part] @ k[:, part].T / np.sqrt(size), -np.inf)
        weights = np.exp(scores - scores.max(1, keepdims=True))
        weights /= weights.sum(1, keepdims=True)
        mixed[:, part] = weights @ v[:, part]
        all_weights.append(weights)
    return mixed, np.mean(all_weights, 0)


def numpy_norm(x: np.ndarray, held: dict[str, np.ndarray], name: str) -> np.ndarray:
    centred = x - x.mean(1, keepdims=True)
    return centred / np.sqrt(x.var(1, keepdims=True) + 1e-5) * held[f"{name}.weight"] + held[f"{name}.bias"]


def numpy_decoder(x: np.ndarray, source: np.ndarray, held: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
    """A target (time, size) beside a source (source, source size), written out."""
    x = x * np.sqrt(x.shape[1]) @ held["entrance.linear.weight"].T + held["entrance.linear.bias"]
    x = x + sinusoids(torch.arange(len(x)), SIZE).numpy()
    source = source @ held["source.weight"].T + held["source.bias"]
    weights = np.empty(0)
    for layer in range(LAYERS):
        own = {k.removeprefix(f"layers.{layer}."): v for k, v in held.items() if f"layers.{layer}." in k}
        for norm, name in (("norm1", "self_attn"), ("norm2", "multihead_attn")):
            before = numpy_norm(x, own, norm)
            other = before if norm == "norm1" else source
            W, b = own[f"{name}.in_proj_weight"], own[f"{name}.in_proj_bias"]
            q, k, v = (
                y @ W[i * SIZE : (i + 1) * SIZE].T + b[i * SIZE : (i + 1) * SIZE]
                for i, y in enumerate((before, other, other))
            )
            seen = np.tri(len(x)) > 0 if norm == "norm1" else np.ones((len(x), len(source)), bool)
            mixed, weights = numpy_attention(q, k, v, seen)
            x = x + mixed @ own[f"{name}.out_proj.weight"].T + own[f"{name}.out_proj.bias"]
        wide = np.maximum(numpy_norm(x, own, "norm3") @ own["linear1.weight"].T + own["linear1.bias"], 0)
        x = x + wide @ own["linear2.weight"].T + own["linear2.bias"]
    return numpy_norm(x, held, "norm"), weights


def test_the_decoder_is_its_transcription() -> None:
    ours = decoder(6, 10)
    held = {name: value.numpy() for name, value in ours.state_dict().items()}
    x, source, lengths = batch(2, 4, 6), batch(2, 5, 10), torch.tensor([5, 3])
    with torch.no_grad():
        read = ours(x, Encoded(source, lengths))
    for row, length in enumerate(lengths.tolist()):
        output, weights = numpy_decoder(x[row].numpy(), source[row, :length].numpy(), held)
        np.testing.assert_allclose(read.output[row], output, rtol=0, atol=1e-12)
        np.testing.assert_allclose(read.attention[row, :, :length], weights, rtol=0, atol=1e-12)
        assert not read.attention[row, :, length:].any()


@pytest.mark.parametrize("positions", ["sinusoidal", "learned", "rotary"])
def test_a_ragged_batch_is_each_pair_alone(positions: Any) -> None:
    reader, writer = encoder(positions=positions), decoder(positions=positions)
    x, y = batch(3, 6), batch(3, 4)
    lengths, ends = torch.tensor([2, 6, 3]), torch.tensor([4, 1, 3])
    together = writer(y, reader(x, lengths), ends)
    for row, (n, m) in enumerate(zip(lengths.tolist(), ends.tolist(), strict=True)):
        alone = writer(y[row : row + 1, :m], reader(x[row : row + 1, :n], torch.tensor([n])))
        torch.testing.assert_close(together.output[row, :m], alone.output[0], **EXACT)
        torch.testing.assert_close(together.attention[row, :m, :n], alone.attention[0], **EXACT)
        assert not together.attention[row, m:].any()
        assert not together.output[row, m:].any()


@pytest.mark.parametrize("positions", ["sinusoidal", "learned", "rotary"])
@pytest.mark.parametrize("width", [1, 3])
def test_steps_are_the_whole(positions: Any, width: int) -> None:
    """Hypotheses that change places and sentences that leave on the way, as in a beam search."""
    writer = decoder(5, 7, positions=positions).eval()
    encoded = Encoded(batch(3, 6, 7), torch.tensor([2, 6, 3]))
    y = batch(3 * width, 4, 5)
    state = writer.begin(encoded).select(torch.arange(3).repeat_interleave(width))
    first, state = writer.step(y[:, 0], state)
    # the hypotheses of each sentence in another order, the middle sentence gone
    chosen = torch.arange(3 * width).view(3, width).flip(1)[[0, 2]]
    state = state.select(chosen.flatten(), torch.tensor([0, 2]))
    y, outputs, weights = y[chosen.flatten()], [first.output[chosen.flatten()]], []
    for t in range(1, 4):
        made, state = writer.step(y[:, t], state)
        outputs.append(made.output)
        weights.append(made.attention)
    rows = torch.tensor([0, 2]).repeat_interleave(width)
    whole = writer(y, Encoded(encoded.output[rows], encoded.lengths[rows]))
    torch.testing.assert_close(torch.stack(outputs, 1), whole.output, **EXACT)
    torch.testing.assert_close(torch.stack(weights, 1), whole.attention[:, 1:], **EXACT)
    torch.testing.assert_close(whole.attention.sum(-1), torch.ones(2 * width, 4).double(), **EXACT)


def test_without_weights_all_else_is_the_same() -> None:
    writer, bare = decoder(), decoder(need_weights=False)
    encoded, y, ends = Encoded(batch(3, 5), torch.tensor([5, 2, 4])), batch(3, 4), torch.tensor([3, 4, 1])
    assert bare(y, encoded, ends).attention is None
    torch.testing.assert_close(bare(y, encoded, ends).output, writer(y, encoded, ends).output, **EXACT)
    one, _ = bare.step(y[:, 0], bare.begin(encoded))
    assert one.attention is None
    torch.testing.assert_close(one.output, writer.step(y[:, 0], writer.begin(encoded))[0].output, **EXACT)


def test_it_runs_in_bfloat16() -> None:
    """Within what the 8 bits of a bfloat16 lose on the way through two layers."""
    reader, writer = encoder().float(), decoder().float()
    x, y, lengths = batch(3, 5).float(), batch(3, 4).float(), torch.tensor([5, 2, 4])

    def both() -> tuple[Tensor, Tensor]:
        encoded = reader(x, lengths)
        whole = writer(y, encoded, torch.tensor([3, 4, 1]))
        state = writer.begin(encoded)
        for t in range(2):
            made, state = writer.step(y[:, t], state)
        return whole.output.float(), made.output.float()

    whole, made = both()
    with torch.autocast("cpu", torch.bfloat16):
        for exact, rounded in zip((whole, made), both(), strict=True):
            torch.testing.assert_close(rounded, exact, rtol=0, atol=0.05)


def test_learned_positions_end_where_training_did() -> None:
    reader = encoder(positions="learned", longest_position=9)
    x = batch(1, 9)
    reader.train()(x[:, :4], torch.tensor([4]))
    reader.eval()
    with pytest.warns(UserWarning, match="9 tokens came, and positions were learned up to 4"):
        long = reader(x, torch.tensor([9])).output
    weight = reader.entrance.positions.weight
    with torch.no_grad():
        weight[4:] = 1e6
    torch.testing.assert_close(reader(x, torch.tensor([9])).output, long, rtol=0, atol=0)
    with pytest.raises(ValueError, match="10 tokens came, and there are 9 learned positions"):
        reader.train()(batch(1, 10), torch.tensor([10]))


def test_dropout_is_of_training_alone() -> None:
    reader = encoder(dropout=0.5)
    x, lengths = batch(2, 3), torch.tensor([3, 2])
    assert not torch.equal(reader(x, lengths).output, reader(x, lengths).output)
    reader.eval()
    torch.testing.assert_close(reader(x, lengths).output, encoder()(x, lengths).output, **EXACT)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: TransformerEncoder(8, 8, num_heads=3), "hidden_size is 8 and num_heads 3"),
        (lambda: TransformerEncoder(8, 8, num_layers=0), "num_layers is 0"),
        (lambda: TransformerEncoder(8, 9, num_heads=3), "hidden_size is 9; sinusoidal"),
        (lambda: TransformerEncoder(8, 8, dropout=1.0), "dropout is 1.0"),
        (lambda: TransformerEncoder(8, 8, positions="cosine"), "positions is 'cosine'"),
        (lambda: encoder()(batch(2, 3, 5), torch.tensor([3, 3])), "input has 5 features"),
        (lambda: encoder()(batch(2, 3)[0], torch.tensor([3, 3])), "input has 2 dimensions"),
        (lambda: encoder()(batch(2, 3), torch.tensor([3, 0])), r"lengths\[1\] is 0"),
        (lambda: decoder()(batch(2, 3), Encoded(batch(1, 3), torch.tensor([3]))), "2 targets came for 1 sources"),
        (
            lambda: decoder().step(batch(1, 3)[0], decoder().begin(Encoded(batch(2, 3), torch.tensor([3, 2])))),
            r"shape \(3, 8\) for 2 hypotheses of 2 sentences",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(act: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        act()
