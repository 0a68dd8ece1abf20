"""Faults of memory that lie in how a model is trained and run: each is told from the evidence, or not there."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from storyline.memory.diagnosis.diagnosis import Finding
from storyline.memory.diagnosis.evidence import Evidence, steps_text
from storyline.memory.measures.loss import default_loss
from storyline.memory.steps import MeasureError

# A clip below a tenth of the typical norm shrinks most updates more than tenfold. Pascanu, Mikolov and Bengio 2013,
# section 3.2, found half to ten times the average norm to work.
HARD = 10.0
_BATCH, _BATCHES = 32, 8


def chunk_for(need: int) -> int:
    """Steps of a chunk to train on: the power of two of at least half as much again as the need.

    A step has its whole context in the chunk only where `need` steps lie before it; so a third of the steps have.
    """
    return 1 << max(1, math.ceil(math.log2(1.5 * need)))


def needed(evidence: Evidence) -> tuple[int, int]:
    """(low, steps) of the need.

    Raises:
        MeasureError: it is not known.
    """
    if evidence.need is None:
        raise MeasureError(
            evidence.reasons.get("need", "the need of the data is not known; give targets= or need=")
        )
    return evidence.need


def truncated(evidence: Evidence) -> Finding | None:
    """Training chunks that are shorter than the lower end of the need's interval, of a model that falls short."""
    if (chunk := evidence.settings.chunk) is None:
        raise MeasureError("chunk= was not given, the steps that gradients went back in training")
    if chunk == math.inf:
        return None
    low, steps = needed(evidence)
    if chunk >= low or not evidence.falls_short:
        return None
    longer = chunk_for(steps)
    return Finding(
        "truncated too short",
        f"gradients went back {steps_text(int(chunk))} in training, and the data needs {steps}",
        f"train on chunks of {longer}",
        {"chunk": longer},
        {"chunk": chunk, "need": steps},
    )


def reset_often(evidence: Evidence) -> Finding | None:
    """Resets closer together than the lower end of the need's interval."""
    if (every := evidence.settings.reset_every) is None:
        raise MeasureError("reset_every= was not given, the steps after which the state is reset")
    if every == math.inf:
        return None
    low, steps = needed(evidence)
    if every >= low:
        return None
    apart = 10 * steps
    return Finding(
        "reset too often",
        f"the state is reset every {steps_text(int(every))}, and the data needs {steps}",
        f"reset it where a sequence begins only, or every {apart} steps at most, so that nine of ten steps have "
        "their context",
        {"reset_every": None, "reset_at_most_every": apart},
        {"reset_every": every, "need": steps},
    )


def clipped(evidence: Evidence) -> Finding | None:
    """A clip below a tenth of the median gradient norm, of a model that falls short."""
    clip = evidence.settings.clip
    if clip is None:
        raise MeasureError("clip= was not given, the norm that gradients were clipped to")
    if clip == math.inf:
        return None
    given = evidence.settings.gradient_norms
    norms = np.array(given) if given else gradient_norms(evidence)
    middle = float(np.median(norms))
    if middle <= HARD * clip or not evidence.falls_short:
        return None
    better = float(f"{2 * middle:.2g}")
    return Finding(
        "clipped too hard",
        f"gradients are clipped to {clip:.3g}, and their typical norm is {middle:.3g}, {middle / clip:,.0f} times that",
        f"clip to {better:g}, twice their typical norm",
        {"clip": better},
        {"clip": clip, "norm": middle},
    )


def gradient_norms(evidence: Evidence) -> np.ndarray:
    """(batches,) norm of the loss's gradient by all parameters, over up to 8 batches of 32 sequences.

    Raises:
        MeasureError: there are no targets, no parameters, or a norm is not finite.
    """
    model = evidence.subject.model
    if evidence.questions is None:
        raise MeasureError(
            "no targets were given, so that gradient norms could not be measured; give targets="
        )
    if not isinstance(model, nn.Module) or evidence.loss is not None:
        raise MeasureError(
            "gradient norms are measured of a torch module with its default loss; give gradient_norms="
        )
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    norms = []
    with torch.enable_grad():
        for loss in _losses(evidence):
            found = torch.autograd.grad(loss, weights, allow_unused=True)
            norms.append(float(torch.stack([g.norm() for g in found if g is not None]).norm()))
    return np.array(norms)


def _losses(evidence: Evidence) -> Iterator[Tensor]:
    """The mean loss of each batch: over all steps with a target, or of the last answers."""
    assert evidence.questions is not None
    rows, subject = evidence.sequences.rows, evidence.subject
    for start in range(0, min(len(rows), _BATCH * _BATCHES), _BATCH):
        some = range(start, min(start + _BATCH, len(rows)))
        steps = min(len(rows[i]) for i in some)
        if evidence.per_step is None:
            # rows of one length together, as the median one: they are cut at their beginning
            output = subject.answer(torch.stack([rows[i][-steps:] for i in some]), None)
            last = output[:, -1] if output.ndim == 3 else output
            yield default_loss(last.double().cpu(), evidence.questions.targets[some.start : some.stop]).mean()
            continue
        output = subject.answer(torch.stack([rows[i][:steps] for i in some]), None)
        targets = torch.stack([evidence.per_step[i][:steps] for i in some]).flatten(0, 1)
        real = (
            targets.isfinite().reshape(len(targets), -1).all(1)
            if targets.is_floating_point()
            else targets >= 0
        )
        yield default_loss(output.flatten(0, 1).double().cpu()[real], targets[real]).mean()
