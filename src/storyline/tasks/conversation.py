"""A conversation with a Chatbot: the state goes on from turn to turn, so that a reply costs the turn alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from storyline.data import TextEncoder
from storyline.search import Beam, Limits, Sampling, beam_search
from storyline.tasks.conversation_state import ConversationState
from storyline.tasks.dialogues import check_turn, written
from storyline.tasks.estimator import StrPath, measuring
from storyline.tasks.generation import check_count, drawing
from storyline.tasks.next_token import Carry, NextToken
from storyline.tasks.reply_scorer import ReplyScorer, rows_of


@dataclass(frozen=True)
class Exchange:
    """A turn and the reply to it.

    turn, reply  what was said
    read         tokens that the network read for it: of the turn, of the reply, and an <end> after each
    cut          the reply was ended where it had become as long as it may be
    """

    turn: str
    reply: str
    read: int
    cut: bool


class Conversation:
    """One conversation, begun by `Chatbot.conversation` or `Chatbot.resume_conversation`.

    state  what it remembers, a `ConversationState`: as large after a thousand turns as after one (of a Transformer:
           when its window is full)
    last   the last `Exchange`; None where nothing was said since it was begun or resumed
    """

    state: ConversationState
    last: Exchange | None

    def __init__(
        self,
        network: NextToken,
        encoder: TextEncoder,
        state: ConversationState | None,
        *,
        model: str,
        seed: int | None,
        threads: int | None,
    ) -> None:
        self._network, self._encoder, self._model, self._threads = network, encoder, model, threads
        self.last = None
        if state is None:
            with measuring(threads):
                carry = self._read([self._end], network.initial_carry(1))
            state = ConversationState(carry, drawing(seed).get_state(), 0, 1)
        self.state = state

    def reply(
        self,
        turn: str,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        beam: int | None = None,
        longest: int = 100,
    ) -> str:
        """What the model says to `turn`, drawn token by token until it ends its turn, or the likeliest that is found.

        Only the turn and the reply are read, whatever was said before. Where an exception interrupts it, the
        conversation stands where it stood.

        temperature, top_k, top_p  as in LanguageModel.generate; temperature 0 takes the likeliest token always
        beam                       nothing is drawn: the likeliest reply that a search finds that follows so many
                                   (`search.Beam`, its length penalty included)
        longest                    tokens that a reply may have; it is ended there, and `last.cut` says so

        Raises ValueError for a turn that is empty, and for a setting out of range.
        """
        turn = check_turn(turn, "turn")
        longest = check_count(longest, "longest", 1)
        sampling, generator = Sampling(temperature, top_k, top_p), torch.Generator()
        if beam is not None and sampling != Sampling():
            raise ValueError(
                "beam draws nothing, so temperature, top_k and top_p say nothing; leave them out, or beam"
            )
        search = None if beam is None else Beam(beam)
        generator.set_state(self.state.generator)
        heard = self._encoder.encode(written(turn)).tolist()
        with measuring(self._threads):
            carry = self._read(heard, self.state.carry)
            if search is not None:
                said, carry, cut = self._found(carry, search, longest)
            else:
                said, carry, cut = self._drawn(carry, sampling, generator, longest)
        read = len(heard) + len(said) + 2
        state = self.state
        self.state = ConversationState(carry, generator.get_state(), state.turns + 2, state.tokens + read)
        self.last = Exchange(turn, self._text(said), read, cut)
        return self.last.reply

    def save(self, path: StrPath) -> None:
        """Write the state to a file, whole or not at all; ArtifactError where that cannot be."""
        self.state.save(path, self._model)

    def _drawn(
        self, carry: Carry, sampling: Sampling, generator: torch.Generator, longest: int
    ) -> tuple[list[int], Carry, bool]:
        """(ids of a reply, the state after its <end>, whether it was cut), where the turn before has no <end> yet."""
        never = [self._encoder.pad_id, self._encoder.unknown_id]
        said: list[int] = []
        scores, carry = self._step(self._end, carry)
        while len(said) < longest:
            scores[never] = -torch.inf
            if not self._text(said):
                # An empty turn would mean that the dialogue is over.
                scores[self._end] = -torch.inf
            token = sampling.draw(scores, generator)
            if token == self._end:
                break
            said.append(token)
            scores, carry = self._step(token, carry)
        else:
            return said, self._step(self._end, carry)[1], True
        return said, self._step(self._end, carry)[1], False

    def _found(self, carry: Carry, beam: Beam, longest: int) -> tuple[list[int], Carry, bool]:
        """As `_drawn`: the likeliest reply that a search finds."""
        never = (self._encoder.pad_id, self._encoder.unknown_id)
        limits = Limits(torch.tensor([self._end]), self._end, longest, minimum=1, forbidden=never)
        (reply,) = beam_search(ReplyScorer(self._network), rows_of(carry), beam, limits).best
        said = reply.tokens.tolist()
        return said, self._read([self._end, *said, self._end], carry), not reply.ended

    def _read(self, ids: list[int], carry: Mapping[str, Tensor]) -> Carry:
        after: Carry
        _, after = self._network(torch.tensor([ids]), dict(carry))
        return after

    def _step(self, token: int, carry: Carry) -> tuple[Tensor, Carry]:
        scores, carry = self._network.step(torch.tensor([token]), carry)
        return scores[0], carry

    def _text(self, ids: list[int]) -> str:
        return self._encoder.decode(ids).strip()

    @property
    def _end(self) -> int:
        assert self._encoder.end_id is not None
        return self._encoder.end_id
