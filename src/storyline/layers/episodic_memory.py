"""Several looks at a list of facts, each led by a question and by what was found before."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class EpisodicMemory(nn.Module):
    """Attention hops: at each the facts are weighed by question and memory, and the memory takes in what they say.

    Each of the `hops` has weights of its own; m = q before the first:

        z_i = [f_i * q; f_i * m; |f_i - q|; |f_i - m|]
        a_i = softmax_i(w . tanh(W z_i + b) + f_i . m),   e = sum_i a_i f_i
        m  <- m + e + W_m [m; e; q; e * q; e * m] + b_m

    The features z and what weighs them are those of DMN+ (Xiong et al. 2016, eqs. 8 and 9). The term f . m and the sum
    m + e are those of end-to-end memory networks (Sukhbaatar et al. 2015, eqs. 1 and 3): with them attention finds the
    facts that share words with the question, and then those that share words with these, before anything has been
    learned; without them thousands of steps pass first. The products in the update compare what was found with what
    was asked, as a question to be answered by yes or no, or about north of and south of, needs it.

    size: of facts, question and memory. hops: looks, at least 1. dropout: of what is read at each hop.
    """

    def __init__(self, size: int, hops: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        if hops < 1:
            raise ValueError(f"hops is {hops}; the facts must be looked at once or more")
        self.size, self.hops = size, hops
        self.inner = nn.ModuleList(nn.Linear(4 * size, size) for _ in range(hops))
        self.outer = nn.ModuleList(nn.Linear(size, 1, bias=False) for _ in range(hops))
        self.update = nn.ModuleList(nn.Linear(5 * size, size) for _ in range(hops))
        self.dropout = nn.Dropout(dropout)

    def forward(self, facts: Tensor, lengths: Tensor, question: Tensor) -> tuple[Tensor, Tensor]:
        """The memory after the last hop (batch, size), and the attention (batch, hops, facts), each hop's summing to 1.

        facts (batch, facts, size), of which `lengths` (batch,) count, at least 1; question (batch, size).
        """
        places = torch.arange(facts.shape[1], device=lengths.device)
        padding = places >= lengths.unsqueeze(1)
        facts = facts.masked_fill(padding.unsqueeze(-1), 0.0)
        asked = question.unsqueeze(1)
        with_question = torch.cat([facts * asked, (facts - asked).abs()], dim=-1)
        memory, looked = question, []
        for inner, outer, update in zip(self.inner, self.outer, self.update, strict=True):
            before = memory.unsqueeze(1)
            features = torch.cat([with_question, facts * before, (facts - before).abs()], dim=-1)
            scores = outer(torch.tanh(inner(features))).squeeze(-1) + (facts @ memory.unsqueeze(-1)).squeeze(
                -1
            )
            weights = scores.masked_fill(padding, -torch.inf).softmax(-1)
            episode = (weights.unsqueeze(1) @ facts).squeeze(1)
            read = torch.cat([memory, episode, question, episode * question, episode * memory], dim=-1)
            memory = memory + episode + update(self.dropout(read))
            looked.append(weights)
        return memory, torch.stack(looked, dim=1)
