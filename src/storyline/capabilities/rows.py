"""The capabilities, a row each: what the layer is asked, and what the plain loop answers without it."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

from storyline.capabilities import transforms
from storyline.capabilities.subject import BATCH, INPUT, TIME, Subject, Trial, flat, with_gradients

# Tries one capability on one subject; returns the backend that served, if it says, and raises where it can't.
Probe: TypeAlias = Callable[[Subject], str | None]

LENGTHS = torch.tensor([2, 3])
RESETS = torch.tensor([[False, True], [False, False], [True, False]])


def _whole(trial: Trial, **options: Any) -> list[Tensor]:
    return with_gradients(trial, lambda input: trial.layer(input, **options), trial.input())


def _dense(subject: Subject, **arguments: Any) -> str | None:
    return subject.agree(_whole, **arguments)


def _rows_alone(trial: Trial) -> list[Tensor]:
    """What a ragged batch must give: each row read alone, padded with 0."""

    def call(input: Tensor) -> Any:
        alone = [trial.layer(input[:n, i : i + 1]) for i, n in enumerate(LENGTHS.tolist())]
        output = torch.nn.utils.rnn.pad_sequence([each[0].squeeze(1) for each in alone])
        return output, tuple(torch.cat(each, 1) for each in zip(*(flat(a)[1:] for a in alone), strict=True))

    return with_gradients(trial, call, trial.input())


def _packed(subject: Subject) -> str | None:
    def call(trial: Trial, input: Tensor) -> Any:
        return trial.layer(pack_padded_sequence(input, LENGTHS, enforce_sorted=False))

    return subject.agree(
        lambda trial: with_gradients(trial, partial(call, trial), trial.input()), plain=_rows_alone
    )


def _ragged(subject: Subject) -> str | None:
    return subject.agree(partial(_whole, lengths=LENGTHS), plain=_rows_alone)


def _resets(subject: Subject) -> str | None:
    def pieces(trial: Trial) -> list[Tensor]:
        def call(input: Tensor) -> Any:
            # Row 0 is cut before step 2; row 1 before step 0, which cuts nothing off.
            first, rest = trial.layer(input[:2, :1]), trial.layer(input[2:, :1])
            other = trial.layer(input[:, 1:])
            output = torch.cat([torch.cat([first[0], rest[0]]), other[0]], 1)
            last = zip(flat(rest)[1:], flat(other)[1:], strict=True)
            return output, tuple(torch.cat(each, 1) for each in last)

        return with_gradients(trial, call, trial.input())

    return subject.agree(partial(_whole, resets=RESETS), plain=pieces)


def _trace(subject: Subject) -> str | None:
    def ask(trial: Trial) -> list[Tensor]:
        output, _, trace = trial.layer(trial.input(), return_trace=True)
        return [output, *trace.states.values(), *trace.gates.values()]

    return subject.agree(ask)


def _learned_state(subject: Subject) -> str | None:
    def given(trial: Trial) -> list[Tensor]:
        learned = [getattr(trial.layer, f"{name}_0") for name in trial.layer.cell.states]  # type: ignore[union-attr]
        state = tuple(each.unsqueeze(1).expand(-1, BATCH, -1) for each in learned)
        return _whole(trial, hx=state if len(state) > 1 else state[0])

    return subject.agree(_whole, plain=given, learn_initial_state=True)


def _stream(subject: Subject) -> str | None:
    def ask(trial: Trial) -> list[Tensor]:
        def call(input: Tensor) -> Any:
            outputs, state = [], None
            for x in input:
                if subject.backend is None:
                    output, state = trial.layer(x.unsqueeze(0), state)
                else:
                    output, state = trial.layer.step(x, state)  # type: ignore[operator]
                outputs.append(output.view(BATCH, -1))
            return torch.stack(outputs), state

        return with_gradients(trial, call, trial.input())

    return subject.agree(ask, plain=_whole)


def _unbatched(subject: Subject) -> str | None:
    def ask(trial: Trial) -> list[Tensor]:
        return with_gradients(trial, trial.layer, trial.draw(TIME, INPUT))

    def batch_of_one(trial: Trial) -> list[Tensor]:
        def call(input: Tensor) -> Any:
            output, *last = (each.squeeze(1) for each in flat(trial.layer(input.unsqueeze(1))))
            return output, tuple(last)

        return with_gradients(trial, call, trial.draw(TIME, INPUT))

    return subject.agree(ask, plain=batch_of_one)


def _autocast(subject: Subject) -> str | None:
    def ask(trial: Trial) -> list[Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            return _whole(trial)

    return subject.agree(ask, plain=_whole, own=ask)


def _copied(subject: Subject, duplicate: Callable[[Any], Any]) -> str | None:
    return subject.agree(lambda trial: _whole(Trial(duplicate(trial.layer), trial.dtype)), plain=_whole)


def _state_dict(subject: Subject) -> str | None:
    other = Subject(subject.kind, "auto" if subject.backend is None else None)

    def ask(trial: Trial) -> list[Tensor]:
        there, back = (_zeroed(each.layer()) for each in (other, subject))
        there.load_state_dict(trial.layer.state_dict())
        back.load_state_dict(there.state_dict())
        return _whole(Trial(back, trial.dtype))

    return subject.agree(ask, plain=_whole)


def _zeroed(layer: Any) -> Any:
    for value in layer.parameters():
        torch.nn.init.zeros_(value)
    return layer


def _in_evaluation(subject: Subject, **arguments: Any) -> str | None:
    """For what draws random numbers in training."""

    def ask(trial: Trial) -> list[Tensor]:
        trial.layer.eval()
        return _whole(trial)

    return subject.agree(ask, **arguments)


ROWS: dict[str, Probe] = {
    "dense batch": _dense,
    "ragged batch, packed": _packed,
    "ragged batch, lengths=, no packing": _ragged,
    "resets inside a sequence": _resets,
    "every state and gate returned": _trace,
    "learned initial state": _learned_state,
    "initialised for a distance": partial(_dense, remember=100),
    "stream of single steps": _stream,
    "one sequence, unbatched": _unbatched,
    "stacked, both directions": partial(_dense, num_layers=2, bidirectional=True),
    "projection (proj_size)": partial(_dense, proj_size=2),
    "layer norm": partial(_dense, layer_norm=True),
    "zoneout": partial(_in_evaluation, zoneout=0.1),
    "peepholes": partial(_dense, peepholes=True),
    "float64": partial(_dense, dtype=torch.float64),
    "bfloat16": partial(_dense, dtype=torch.bfloat16),
    "autocast to bfloat16": _autocast,
    "deepcopy": partial(_copied, duplicate=copy.deepcopy),
    "pickle": partial(_copied, duplicate=lambda layer: pickle.loads(pickle.dumps(layer))),
    "state_dict to torch.nn and back": _state_dict,
    "double backward": transforms.double_backward,
    "forward mode (jvp)": transforms.forward_mode,
    "vmap": transforms.batched,
    "per-sample gradients": transforms.per_sample_gradients,
    "torch.export, any batch": partial(transforms.exported, any_time=False),
    "torch.export, any batch and time": partial(transforms.exported, any_time=True),
    "torch.compile(fullgraph=True)": transforms.compiled,
    "the same, ragged": partial(transforms.compiled, lengths=LENGTHS),
}
