"""The peer: a translator's weights on torch's own layers, and the batched beam search that goes with them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from storyline import Translator


@dataclass(frozen=True)
class Output:
    """The best output of a sentence: its tokens, without the end, and its score."""

    tokens: list[int]
    score: float


class TorchTranslator(nn.Module):
    """A bidirectional nn.LSTM, and two nn.LSTMCell with additive attention between them."""

    def __init__(self, translator: Translator) -> None:
        super().__init__()
        network = translator.network_
        encoder, decoder = network.encoder.cores[0].layer, network.decoder
        size, hidden = network.target.weight.shape[1], decoder.output_size
        self.scale = network.scale
        self.source = nn.Embedding.from_pretrained(network.source.weight.detach().clone())
        self.target = nn.Embedding.from_pretrained(network.target.weight.detach().clone())
        self.encoder = nn.LSTM(size, hidden, encoder.num_layers, batch_first=True, bidirectional=True)
        self.encoder.load_state_dict(encoder.state_dict())
        self.bridge = {
            name: (
                decoder.bridge.weights[name].detach().clone(),
                decoder.bridge.biases[name].detach().clone(),
            )
            for name in ("h", "c")
        }
        cells = [core.layer for core in decoder.cores]
        self.cells = nn.ModuleList(nn.LSTMCell(cell.input_size, hidden) for cell in cells)
        for ours, plain in zip(cells, self.cells, strict=True):
            plain.load_state_dict(
                {name.removesuffix("_l0"): each for name, each in ours.state_dict().items()}
            )
        self.keys, self.query = (
            nn.Linear(each.in_features, each.out_features, bias=False)
            for each in (decoder.attention.of_source, decoder.attention.of_query)
        )
        self.keys.load_state_dict(decoder.attention.of_source.state_dict())
        self.query.load_state_dict(decoder.attention.of_query.state_dict())
        self.score = nn.Parameter(decoder.attention.score.detach().clone())
        self.combine = nn.Linear(decoder.combine.in_features, hidden)
        self.combine.load_state_dict(decoder.combine.state_dict())
        self.head = nn.Linear(hidden, len(network.target.weight))
        self.head.load_state_dict({"weight": network.head.weight, "bias": network.head.bias})

    def encode(self, ids: Tensor, lengths: Tensor) -> tuple[list[Tensor], tuple[Tensor, Tensor, Tensor]]:
        """The states of both cells, h_0 c_0 h_1 c_1 (batch, hidden); the source's tokens, keys and padding."""
        packed = pack_padded_sequence(
            self.scale * self.source(ids), lengths, batch_first=True, enforce_sorted=False
        )
        output, last = self.encoder(packed)
        values, _ = pad_packed_sequence(output, batch_first=True)
        states = []
        for layer in range(len(self.cells)):
            for name, state in zip(("h", "c"), last, strict=True):
                both = torch.cat((state[2 * layer], state[2 * layer + 1]), 1)
                weight, bias = self.bridge[name]
                states.append(torch.tanh(both @ weight[layer] + bias[layer]))
        padding = torch.arange(ids.shape[1]) >= lengths.unsqueeze(1)
        return states, (values, self.keys(values), padding)

    def step(self, tokens: Tensor, states: list[Tensor], source: tuple[Tensor, Tensor, Tensor]):
        """Log probabilities (rows, vocabulary) and the states after one token of each hypothesis."""
        values, keys, padding = source
        h0, c0 = self.cells[0](self.scale * self.target(tokens), (states[0], states[1]))
        asked = self.query(h0).view(len(values), -1, 1, keys.shape[2])
        scores = torch.tanh(asked + keys.unsqueeze(1)) @ self.score
        weights = scores.masked_fill(padding.unsqueeze(1), -torch.inf).softmax(2)
        context = torch.bmm(weights, values).flatten(0, 1)
        h1, c1 = self.cells[1](torch.cat((h0, context), 1), (states[2], states[3]))
        read = self.combine(torch.cat((h1, context), 1))
        return functional.log_softmax(self.head(read), 1), [h0, c0, h1, c1]


@torch.no_grad()
def torch_beam_search(
    model: TorchTranslator, ids: Tensor, lengths: Tensor, maximum: Tensor,
    *, width: int, alpha: float, end: int, pad: int,
) -> list[Output]:  # fmt: skip
    """The best output of each sentence; a sentence is done, and leaves the batch, when `width` outputs have ended."""
    states, source = model.encode(ids, lengths)
    count, size = len(ids), model.head.out_features
    sentences, totals = torch.arange(count), torch.zeros(count, 1)
    tokens = torch.full((count,), end)
    history = torch.empty(count, 1, 0, dtype=torch.int64)
    ended: list[list[Output]] = [[] for _ in range(count)]
    step = 0
    while len(sentences):
        scores, states = model.step(tokens, states, source)
        scores[:, pad] = -torch.inf
        full = maximum[sentences] == step
        if full.any():  # all that is left must end here
            rows = full.repeat_interleave(totals.shape[1])
            ending = scores[rows, end].clone()
            scores[rows] = -torch.inf
            scores[rows, end] = ending
        scores = (totals.unsqueeze(2) + scores.view(len(sentences), -1, size)).flatten(1)
        # Of twice as many as are followed at most half end.
        best, places = scores.topk(2 * width)
        parents, chosen = places // size, places % size
        over = (chosen == end) & (best > -torch.inf)
        over[:, width:] &= full.unsqueeze(1)
        for sentence, place in over.nonzero().tolist():
            found = history[sentence, parents[sentence, place]].tolist()
            penalty = ((5 + step + 1) / 6) ** alpha
            ended[sentences[sentence]].append(Output(found, float(best[sentence, place]) / penalty))
        done = torch.tensor([len(ended[sentence]) >= width for sentence in sentences.tolist()]) | full
        stay = (~done).nonzero().squeeze(1)
        best = best.masked_fill(chosen == end, -torch.inf)[stay]
        totals, going = best.topk(width)
        parents, chosen = parents[stay].gather(1, going), chosen[stay].gather(1, going)
        rows = (stay.unsqueeze(1) * history.shape[1] + parents).flatten()
        history = torch.cat(
            (history.flatten(0, 1)[rows].view(len(stay), width, step), chosen.unsqueeze(2)), 2
        )
        states = [each[rows] for each in states]
        if len(stay) < len(sentences):
            source = tuple(each[stay] for each in source)
        sentences, tokens = sentences[stay], chosen.flatten()
        step += 1
    return [max(each, key=lambda one: one.score) for each in ended]
