"""A group of random cases on the reference, all at once, and one of its cases on the native kernels."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.kernels.drawing import LAYOUTS, Group
from storyline.cells import State
from storyline.kernels import Ragged, Weights, native_call, recurrence, reference
from storyline.kernels.reverse import in_reverse

Results = dict[str, Tensor]


def on_reference(group: Group, dtype: torch.dtype, leaves: Results | None = None) -> Results:
    """Output, last states and all gradients of every case, by name; the first dimension is that of the cases."""
    leaf = {name: value.to(dtype).requires_grad_() for name, value in (leaves or group.leaves).items()}
    run = partial(in_reverse, reference) if group.reverse else reference

    def one(leaf: Results, lengths: Tensor, resets: Tensor) -> tuple[Tensor, State]:
        ragged = Ragged(lengths, len(resets))
        input = ragged.clear(leaf["input"])
        done = run(group.cell, *_given(group, leaf, input), ragged, resets)
        return done.output, done.state

    output, state = torch.func.vmap(one)(leaf, group.lengths, group.resets)
    weigh = [each.to(dtype) for each in group.weigh]
    return _with_gradients(group, leaf, [output, *state], weigh)


def on_kernels(group: Group, index: int, dtype: torch.dtype) -> Results:
    """The same of case `index` alone, with its own sizes, layouts and threads; NaN in what must not be read."""
    case = group.cases[index]
    layout = {kind: LAYOUTS[name] for kind, name in case.layouts.items()}
    values = _cut(group, index, {name: value[index] for name, value in group.leaves.items()})
    lengths = group.lengths[index, : case.batch]
    resets = group.resets[index, : case.time, : case.batch] if case.resets else None
    outside = ~Ragged(lengths, case.time).inside
    values["input"] = values["input"].masked_fill(outside, float("nan"))
    leaf = {name: layout[_kind(name)](value.to(dtype)).requires_grad_() for name, value in values.items()}
    weigh = [each[index].to(dtype) for each in group.weigh]
    weigh = [weigh[0][: case.time, : case.batch], *(each[: case.batch] for each in weigh[1:])]
    weigh[0] = weigh[0].masked_fill(outside, float("nan"))
    before = torch.get_num_threads()
    torch.set_num_threads(case.threads)
    try:
        given = _given(group, leaf, leaf["input"])
        ragged = Ragged(lengths, case.time) if case.ragged else None
        call = partial(recurrence, "cpu", group.cell, *given, ragged, resets, reverse=group.reverse)
        done = call()
        with torch.no_grad():
            unkept = call()
        for kept, free in zip([done.output, *done.state], [unkept.output, *unkept.state], strict=True):
            if not torch.equal(kept, free):
                raise AssertionError("the pass that keeps nothing gives other bits")
        return _with_gradients(
            group, leaf, [done.output, *done.state], [layout["gradients"](each) for each in weigh]
        )
    finally:
        torch.set_num_threads(before)


def own_part(group: Group, index: int, results: Results) -> Results:
    """Of the results of all cases those of case `index`, cut to its own sizes."""
    return _cut(group, index, {name: value[index] for name, value in results.items()})


def share_out_every_call() -> None:
    """From here on the native kernels wake threads for the smallest call too."""
    assert hasattr(native_call, "_WORTH_A_THREAD")
    native_call._WORTH_A_THREAD = 0


def _given(group: Group, leaf: Results, input: Tensor) -> tuple[Any, ...]:
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
    weights = Weights(
        *(leaf.get(name) for name in names),
        own=tuple(leaf[each.name] for each in group.cell.parameters),
    )
    states = (tuple(leaf[f"{name}_{which}"] for name in group.cell.states) for which in ("0", "fresh"))
    return (weights, input, *states)


def _with_gradients(group: Group, leaf: Results, results: list[Tensor], weigh: list[Tensor]) -> Results:
    gradients = torch.autograd.grad(
        results, list(leaf.values()), weigh, allow_unused=True, materialize_grads=True
    )
    named = dict(zip(["output", *group.cell.states], results, strict=True))
    named |= {f"gradient of {name}": value for name, value in zip(leaf, gradients, strict=True)}
    return {name: value.detach() for name, value in named.items()}


def _kind(name: str) -> str:
    return "input" if name == "input" else "states" if name.endswith(("_0", "_fresh")) else "weights"


def _cut(group: Group, index: int, values: Results) -> Results:
    case, cut = group.cases[index], dict(values)
    for name, value in values.items():
        bare = name.removeprefix("gradient of ")
        if bare == "input":
            cut[name] = value[: case.time, : case.batch, : case.input_size]
        elif bare == "output":
            cut[name] = value[: case.time, : case.batch]
        elif bare == "weight_ih":
            cut[name] = value[:, : case.input_size]
        elif bare in group.cell.states or bare.endswith(("_0", "_fresh")):
            cut[name] = value[: case.batch]
    return cut
