"""From the states of a text to the span of it that answers a question."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SpanHead(nn.Module):
    """Where a span begins and where it ends, each a distribution over the tokens of a text.

    Chen et al. 2017, section 3.2: P_start(i) = softmax_i(p_i W_s q), P_end(i) = softmax_i(p_i W_e q), p_i the state
    of a token and q the question.

    input_size, question_size: of p and q. dropout: of both.
    """

    def __init__(self, input_size: int, question_size: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.start = nn.Linear(question_size, input_size)
        self.end = nn.Linear(question_size, input_size)

    def forward(self, states: Tensor, question: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Log probabilities of start and end, both (batch, time), -inf in the padding.

        states (batch, time, input_size) of lengths (batch,); question (batch, question_size).
        """
        states, question = self.dropout(states), self.dropout(question)
        steps = torch.arange(states.shape[1], device=lengths.device)
        padding = steps >= lengths.unsqueeze(1)
        found = []
        for linear in (self.start, self.end):
            scores = (states @ linear(question).unsqueeze(-1)).squeeze(-1)
            found.append(scores.masked_fill(padding, -torch.inf).log_softmax(-1))
        return found[0], found[1]


def span_loss(start: Tensor, end: Tensor, spans: Tensor) -> Tensor:
    """Minus the log probability that one of the right spans is chosen, the mean over rows, in nats.

    -log sum_k P_start(s_k) P_end(e_k): where an answer stands in its text several times, any place of it is right
    (Clark and Gardner 2018, section 3.2).

    start, end  (batch, time) log probabilities
    spans       (batch, places, 2) int64: first and last token of each right span, -1 where a row has fewer; at least
                one a row
    """
    missing = spans[..., 0] < 0
    at = spans.clamp_min(0)
    found = start.gather(1, at[..., 0]) + end.gather(1, at[..., 1])
    return -found.masked_fill(missing, -torch.inf).logsumexp(1).mean()


def best_spans(start: Tensor, end: Tensor, longest: int) -> tuple[Tensor, Tensor, Tensor]:
    """The likeliest span of at most `longest` tokens: first and last token, both (batch,), and its log probability.

    start, end  (batch, time) log probabilities, -inf in the padding; of equal spans the earliest, then the shortest
    """
    if longest < 1:
        raise ValueError(f"longest is {longest}; a span has at least 1 token")
    beyond = end.new_full((len(end), longest - 1), -torch.inf)
    # Row i of the window holds the ends that a span beginning at token i may have.
    ends = torch.cat([end, beyond], dim=1).unfold(1, longest, 1)
    score, place = (start.unsqueeze(-1) + ends).flatten(1).max(dim=1)
    first = place // longest
    return first, first + place % longest, score
