"""Which transformation of torch a call runs under, and whether a tensor's values can be looked at there.

torch.compile and torch.export run a layer with tensors that have shapes and no values; torch.func.vmap and
forward-mode derivatives run it with tensors that stand for many. torch's fused operators have no rule for
them (in 2.13), or have one that gives wrong numbers; the plain loop is made of operators that have. The native
kernels bring rules of their own, but for forward mode: `operators.py` for graphs, `transformed.py` for torch.func.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch._C import _functorch
from torch.autograd import forward_ad


def why_plain_operators(device: torch.device | None, *, resets: bool = False) -> str | None:
    """Why this call must be made of plain operators, or None where it may be a fused one.

    device: where the call runs; None, before a call, counts as the CPU. resets: rows are cut, which the torch
    backend does by their values.
    """
    if torch.compiler.is_compiling():
        if device is not None and device.type == "cuda" and not resets:
            return None
        return "torch.compile and torch.export cannot trace torch's fused operators"
    # vmap and jvp show themselves here, also below grad, as in per-sample gradients.
    stack = _functorch.get_interpreter_stack() or ()
    if any(each.key() == _functorch.TransformType.Vmap for each in stack):
        return "torch.func.vmap has no rule for torch's fused operators"
    if forward_ad._current_level >= 0:
        return "torch's fused operators have no forward-mode derivative"
    return None


def why_no_kernel() -> str | None:
    """Why a kernel that only eager torch can call cannot run here, or None where it can."""
    if torch.compiler.is_compiling():
        return "torch.compile and torch.export cannot trace these kernels"
    if _functorch.get_interpreter_stack():
        return "the transforms of torch.func have no rule for these kernels"
    if forward_ad._current_level >= 0:
        return "these kernels have no forward-mode derivative"
    return None


def transform() -> str | None:
    """What a native call runs under: "graph" where one is traced, "func" under torch.func, None in eager torch."""
    if torch.compiler.is_compiling():
        return "graph"
    return "func" if _functorch.get_interpreter_stack() else None


def why_no_native() -> str | None:
    """Why the native kernels cannot run here, which have rules for traced graphs, vmap and grad, or None."""
    if forward_ad._current_level >= 0:
        return "the native kernels have no forward-mode derivative"
    if torch.compiler.is_compiling():
        # There torch.func would need of the operator what torch.library cannot give it (in 2.13).
        if torch._C._are_functorch_transforms_active():
            return "torch.compile cannot trace the native kernels below a transform of torch.func"
        return None
    known = (_functorch.TransformType.Vmap, _functorch.TransformType.Grad)
    if (reason := why_not_seen()) is not None:
        return reason
    stack = _functorch.get_interpreter_stack() or ()
    if other := [each.key() for each in stack if each.key() not in known]:
        return f"the native kernels have no rule for torch.func's {other[0].name.lower()}"
    return None


def why_not_seen() -> str | None:
    """Why what runs beside torch's operators cannot run here, or None.

    Whoever records or replaces operators would not see it, and take its result for a constant.
    """
    if torch._C._is_tracing():
        return "torch.jit.trace would take the result of the native kernels for a constant"
    if torch._C._len_torch_dispatch_stack():
        return "a TorchDispatchMode (make_fx, FakeTensorMode) is on, and does not see the native kernels"
    return None


def refuse_unseen() -> None:
    """Raise ValueError where `why_not_seen` has a reason: for what is made already, and has no other backend."""
    if (reason := why_not_seen()) is not None:
        raise ValueError(
            f"the native kernels cannot run here: {reason}; leave it for this call, or take backend='reference'"
        )


def values_of(tensor: Tensor) -> Tensor | None:
    """What `tensor` holds, under torch.func for all samples at once; None while a graph is traced."""
    if torch.compiler.is_compiling():
        return None
    while _functorch.is_functorch_wrapped_tensor(tensor):
        tensor = _functorch.get_unwrapped(tensor)
    return tensor
