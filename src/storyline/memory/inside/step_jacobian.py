"""The Jacobian of one step of a recurrent layer: how a change of its state is carried on."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import torch
from torch import Tensor

from storyline.memory.inside.parts import OneLayer


def push_tangents(layer: OneLayer, input: Tensor, state: Mapping[str, Tensor], tangents: Tensor) -> Tensor:
    """J V: directions of the state, carried over one step by its Jacobian J = ds_t / ds_(t-1).

    The state s is that of all letters side by side, (h, c) of an LSTM: of size hidden_size (or proj_size) +
    hidden_size. J is never made; a column of V costs about a forward step.

    Args:
        layer: one layer in one direction.
        input: (rows, channels), what the step reads.
        state: before the step, by letter, (rows, size) each.
        tangents: V, (rows, size of s, n).
    """
    names = layer.cell.states
    sizes = [state[name].shape[1] for name in names]

    def step(flat: Tensor) -> Tensor:
        parts = tuple(each.unsqueeze(0) for each in torch.split(flat, sizes, 1))
        _, after = layer.step(input, parts if len(parts) > 1 else parts[0])
        return torch.cat([each[0] for each in (after if isinstance(after, tuple) else (after,))], 1)

    flat = torch.cat([state[name] for name in names], 1)

    def push(tangent: Tensor) -> Tensor:
        carried = torch.func.jvp(step, (flat,), (tangent,))[1]
        assert isinstance(carried, Tensor)
        return carried

    with torch.no_grad(), warnings.catch_warnings():
        # torch's own forward mode scripts its decompositions once, and warns of that to whoever calls first
        warnings.filterwarnings("ignore", "`torch.jit.script", DeprecationWarning)
        return torch.vmap(push, in_dims=-1, out_dims=-1)(tangents)


def step_jacobian(layer: OneLayer, input: Tensor, state: Mapping[str, Tensor]) -> Tensor:
    """J = ds_t / ds_(t-1), (rows, size of s, size of s); arguments as for `push_tangents`."""
    rows, size = len(input), sum(each.shape[1] for each in state.values())
    unit = torch.eye(size, dtype=input.dtype, device=input.device).expand(rows, -1, -1)
    return push_tangents(layer, input, state, unit)
