"""Faults of memory that lie in the state: gradients that vanish or explode, inputs ignored, units that do no work."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from storyline.memory.diagnosis.diagnosis import Finding
from storyline.memory.diagnosis.evidence import AtWork, Evidence, steps_text
from storyline.memory.diagnosis.faults import chunk_for, needed
from storyline.memory.inside.keeping import keeping_gate
from storyline.memory.inside.layer_trace import trace
from storyline.memory.inside.lyapunov import lyapunov_exponents
from storyline.memory.inside.parts import as_ours
from storyline.memory.inside.units import UnitFault, unit_faults
from storyline.memory.steps import MeasureError

# A gradient that grows a hundredfold is the mirror image of the one that falls to 1 %, where the horizon ends.
GROWTH = 100.0
# A layer half of whose units do no work has half of its size.
HALF = 0.5
# A state that moves by less than 1 % with what is read.
STILL = 0.01
# Inputs this far from a spread of 1 leave tanh and the sigmoids of torch's initialisation linear, or at their ends.
SMALL, LARGE = 0.03, 10.0
_STEPS, _ROWS = 256, 8


def vanishing(evidence: Evidence) -> Finding | None:
    """Neither the gradient nor the answers reach as far back as the need, of a model that falls short.

    The reach is the context k + 1 for the largest lag k at which |dy_t/dx_(t-k)| is still 1 % of lag 0, or at which
    a change of the past still changes the answer by 1 %, whichever is further: a unit that latched a fact for good has
    no gradient, and is no fault. The reach is less where its interval lies wholly below that of the need.
    """
    low, steps = needed(evidence)
    if (gradient := evidence.measures.get("gradient")) is None:
        raise MeasureError(evidence.reasons.get("gradient", "the gradient was not measured"))
    reach = gradient.steps + 1
    furthest = [gradient, evidence.measures.get("counterfactual", gradient)]
    if not evidence.falls_short or any(each.high_at_least or each.high + 1 >= low for each in furthest):
        return None
    longer = chunk_for(steps)
    gated = any(keeping_gate(as_ours(each.layer)) for each in evidence.layers) if evidence.layers else True
    cell = "" if gated else "; a vanilla RNN overwrites its state, so an LSTM or GRU is the surer way"
    return Finding(
        "vanishing",
        f"the gradient falls to 1 % within {steps_text(reach)}, and the data needs {steps}",
        f"raise remember= to {max(3, steps)}, or train on chunks of {longer}{cell}",
        {"remember": max(3, steps), "chunk": longer, **({} if gated else {"cell": "lstm"})},
        {"reach": reach, "need": steps},
    )


def exploding(evidence: Evidence) -> Finding | None:
    """A largest Lyapunov exponent above 0 by which a gradient grows a hundredfold over the median sequence.

    The lower end of its interval counts: lambda_1 * steps >= ln 100, of a model that falls short.
    """
    for at in _layers(evidence):
        steps = min(evidence.steps, _STEPS)
        few, state = _few(at, _ROWS, steps)
        for part, found in lyapunov_exponents(at.layer, few, state=state, top=1, seed=evidence.seed).items():
            low = float(found.low[0]) if found.low is not None else found.largest
            if low * evidence.steps < math.log(GROWTH) or not evidence.falls_short:
                continue
            remember = max(3, evidence.need[1] if evidence.need else evidence.steps)
            return Finding(
                "exploding",
                f"{at.called}, {part}: the largest Lyapunov exponent is {found.largest:.3g} nats a step, so that a "
                f"gradient grows {_power(found.largest * evidence.steps)} over {evidence.steps} steps",
                f"initialise with remember={remember}, whose recurrent weights do not grow, and clip gradients to 1",
                {"remember": remember, "clip": 1.0},
                {"exponent": found.largest, "steps": evidence.steps},
            )
    return None


def ignored(evidence: Evidence) -> Finding | None:
    """A recurrent layer whose state moves by less than 1 % with what is read, of a model that falls short.

    s = sqrt( mean_tu var_b h_btu / mean_tub h_btu^2 ) < .01
    """
    for at in _layers(evidence):
        few, state = _few(at, 32, _STEPS)
        hidden = trace(at.layer, few, state=state).output
        spread = float(
            hidden.var(0, unbiased=False).mean().sqrt() / hidden.square().mean().sqrt().clamp_min(1e-30)
        )
        if spread >= STILL or not evidence.falls_short:
            continue
        sentence, change = _rescale(at) or (
            "see that what the model is given reaches this layer, and start from fresh weights",
            {"initialise": "default"},
        )
        return Finding(
            "input ignored",
            f"the state of {at.called} moves by {spread:.2g} of its size with what is read",
            sentence,
            change,
            {"spread": spread, **_input_scale(at)},
        )
    return None


def dead(evidence: Evidence) -> Finding | None:
    """Half of a layer's units or more dead (see `unit_faults`), of a model that falls short."""
    for at, part, found, size in _unit_faults(evidence):
        units = {each.unit for each in found if each.kind == "dead" and each.name == "h"}
        share = len(units) / size
        if share < HALF or not evidence.falls_short:
            continue
        remember = max(3, evidence.need[1] if evidence.need else evidence.steps)
        return Finding(
            "dead units",
            f"{len(units)} of {size} units of {at.called}, {part}, hardly move",
            f"start from fresh weights, remember={remember}, with tanh in the place of relu",
            {"initialise": "default", "remember": remember, "nonlinearity": "tanh"},
            {"share": share},
        )
    return None


def saturated(evidence: Evidence) -> Finding | None:
    """Half of a layer's gates or more stuck at an end of their range (see `unit_faults`), of a model that falls short.

    The gate that keeps and an input gate at 0 do not count: a unit that remembers a thousand steps has them there.
    """
    for at, part, found, size in _unit_faults(evidence):
        stack = as_ours(at.layer)
        keeps = "z" if keeping_gate(stack) == "update gate" else "f"
        gates = [name for name in stack.cell.gates if name != keeps] if keeping_gate(stack) else ["h"]
        stuck = [
            each
            for each in found
            if each.kind == "saturated" and each.name in gates and (each.name, each.end) != ("i", 0)
        ]
        share = len(stuck) / (size * len(gates))
        if share < HALF or not evidence.falls_short:
            continue
        remember = max(3, evidence.need[1] if evidence.need else evidence.steps)
        sentence, change = _rescale(at) or (
            f"start from fresh weights, remember={remember}, and a smaller learning rate",
            {"initialise": "default", "remember": remember},
        )
        return Finding(
            "saturated",
            f"{share:.0%} of the gates of {at.called}, {part}, are at an end of their range at 95 % of the steps",
            sentence,
            change,
            {"share": share, **_input_scale(at)},
        )
    return None


def _layers(evidence: Evidence) -> tuple[AtWork, ...]:
    if not evidence.layers:
        raise MeasureError(evidence.reasons.get("layers", "no recurrent layer was found"))
    return evidence.layers


def _unit_faults(evidence: Evidence) -> Iterator[tuple[AtWork, str, list[UnitFault], int]]:
    """(layer, part, faults, units) of each layer and direction."""
    for at in _layers(evidence):
        few, state = _few(at, 32, _STEPS)
        faults = unit_faults(at.layer, few, state=state)
        for part, size in faults.units.items():
            yield at, part, [fault for fault in faults.faults if fault.part == part], size


def _few(at: AtWork, rows: int, steps: int) -> tuple[Tensor, Any]:
    """The first rows and steps of what a layer read, in its own order of axes, and its state."""
    first = bool(getattr(at.layer, "batch_first", False))
    inputs = at.inputs[:rows, :steps] if first else at.inputs[:steps, :rows]
    if at.state is None:
        return inputs, None
    cut = tuple(each[:, :rows] for each in (at.state if isinstance(at.state, tuple) else (at.state,)))
    return inputs, cut if isinstance(at.state, tuple) else cut[0]


def _input_scale(at: AtWork) -> dict[str, float]:
    return {"input_spread": float(at.inputs.double().std())}


def _rescale(at: AtWork) -> tuple[str, dict[str, Any]] | None:
    """A remedy where the layer's inputs are far from a spread of 1."""
    spread = float(at.inputs.double().std())
    if SMALL <= spread <= LARGE or spread == 0.0:
        return None
    return (
        f"scale what {at.called} reads to a spread of 1 (it is {spread:.2g}), with the mean taken off",
        {"input_scale": float(f"{1 / spread:.3g}")},
    )


def _power(log: float) -> str:
    return f"{math.exp(log):,.0f} times" if log < 16 else f"10^{log / math.log(10):.0f} times"
