"""The kernels as one differentiable function of tensors: buffers, launches, and the products around the loop."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from storyline.cells import Cell, State
from storyline.kernels.triton.backward import backward_kernel
from storyline.kernels.triton.forward import forward_kernel


@dataclass(frozen=True)
class Plan:
    """What the kernels are compiled for, and how wide they run; one a call.

    lengths (batch,), resets (time, batch) uint8 or None. save: a backward pass may follow.
    """

    cell: Cell
    lengths: Tensor
    resets: Tensor | None
    save: bool

    def blocks(self, hidden_size: int, weight: Tensor) -> dict[str, Any]:
        """What the kernels know when they are compiled; 16 is the least that a matrix product on tensor cores takes."""
        narrow = weight.dtype != torch.float32
        most = min(64, max(16, _power_of_two(hidden_size)))
        return {
            "BLOCK_B": 16,
            "BLOCK_N": most,
            "BLOCK_K": most if narrow else min(32, most),
            "PRECISION": _precision(weight),
            "CELL": self.cell.name,
            "HAS_C": "c" in self.cell.states,
            "SAVE": self.save,
            "HAS_RESETS": self.resets is not None,
            "H": hidden_size,
            "G": self.cell.preactivations,
            "num_warps": 4 if hidden_size <= 64 else 8,
        }


class Scan(torch.autograd.Function):
    """scan(plan, gates_x, weight_hh, bias_hh, peephole, *state, *fresh) -> (output, *last state).

    gates_x (time, batch, G * hidden_size), weight_hh (G * hidden_size, hidden_size) and bias_hh, which may be
    None, in one dtype; peephole (3 * hidden_size,), of i, f, o, None for a cell without; state and fresh
    (batch, hidden_size), any dtype, a tensor a state of the cell.
    Returns output (time, batch, hidden_size), 0 beyond the lengths, in the dtype of gates_x, and the last
    state of each row in the dtype of the initial one. The state itself is float32 from step to step.
    """

    @staticmethod
    def forward(
        ctx: Any,
        plan: Plan,
        gates_x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        peephole: Tensor | None,
        *states: Tensor,
    ) -> tuple[Tensor, ...]:
        time, batch, _ = gates_x.shape
        hidden_size = weight.shape[1]
        gates_x, weight = gates_x.contiguous(), weight.contiguous()
        state, fresh = _halves(tuple(each.to(torch.float32).contiguous() for each in states))
        save = plan.save
        h = gates_x.new_zeros(time + 1, batch, hidden_size, dtype=torch.float32)
        h[0] = state[0]
        slots, c, gates = time + 1 if save else 2, h, gates_x
        if len(state) > 1:
            c = h.new_zeros(slots, batch, hidden_size)
            c[0] = state[1]
        if save and plan.cell.preactivations > 1:
            gates = gates_x.new_empty(time, batch, 4 * hidden_size)
        blocks = plan.blocks(hidden_size, weight)
        with _on_device(gates_x):
            forward_kernel[(_programs(batch, blocks["BLOCK_B"]),)](
                gates_x, weight, weight if bias is None else bias.contiguous(),
                weight if peephole is None else peephole, h, c, fresh[0], fresh[-1], gates, plan.lengths,
                plan.lengths if plan.resets is None else plan.resets, batch, slots,
                HAS_BIAS=bias is not None, **blocks,
            )  # fmt: skip
        ctx.plan, ctx.blocks, ctx.has_bias = plan, blocks, bias is not None
        ctx.dtypes = [each.dtype for each in states]
        if save:
            ctx.save_for_backward(weight, peephole, h, c, gates, *fresh)
        rows = torch.arange(batch, device=h.device)
        last = [h[plan.lengths, rows]]
        if len(state) > 1:
            last.append(c[plan.lengths % slots, rows])
        # A copy, so that what the user does to the output in place cannot reach what the backward pass reads.
        output = h[1:].to(gates_x.dtype, copy=save)
        return output, *(each.to(given.dtype) for each, given in zip(last, states, strict=False))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_output: Tensor, *d_last: Tensor) -> tuple[Tensor | None, ...]:
        plan, blocks = ctx.plan, ctx.blocks
        weight, peephole, h, c, gates, *fresh = ctx.saved_tensors
        time, batch, hidden_size = d_output.shape
        d_lasts = [each.to(torch.float32).contiguous() for each in d_last]
        # Zeros, because rows write nothing beyond their lengths.
        d_x = d_output.new_zeros(time, batch, plan.cell.preactivations * hidden_size)
        d_share = torch.zeros_like(d_x) if plan.cell.name == "gru" else d_x
        d_carry = h.new_zeros(2, batch, hidden_size)
        d_fresh = [h.new_zeros(2, batch, hidden_size) for _ in fresh]
        with _on_device(d_output):
            backward_kernel[(_programs(batch, blocks["BLOCK_B"]),)](
                weight, weight if peephole is None else peephole, h, c, fresh[0], fresh[-1], gates, plan.lengths,
                plan.lengths if plan.resets is None else plan.resets,
                d_output.contiguous(), d_lasts[0], d_lasts[-1], d_x, d_share, d_carry, d_fresh[0], d_fresh[-1],
                batch, **{name: value for name, value in blocks.items() if name != "SAVE"},
            )  # fmt: skip
        d_state = _initial(plan, weight, d_share[0], d_carry[0])
        d_states = _part(plan, d_state, [each[0] for each in d_fresh])
        d_weight = d_bias = d_peephole = None
        if ctx.needs_input_grad[2]:
            d_weight = _weight_gradient(d_share, _before(plan, h, fresh[0]))
        if ctx.has_bias and ctx.needs_input_grad[3]:
            d_bias = d_share.sum((0, 1))
        if peephole is not None and ctx.needs_input_grad[4]:
            d_peephole = _peephole_gradient(d_x, _before(plan, c, fresh[1]), c[1:]).to(peephole.dtype)
        cast = (None if d is None else d.to(dtype) for d, dtype in zip(d_states, ctx.dtypes, strict=True))
        return None, d_x, d_weight, d_bias, d_peephole, *cast


def _initial(plan: Plan, weight: Tensor, d_share: Tensor, d_carry: Tensor) -> list[Tensor]:
    """The gradient of the state that step 0 read, from that of its preactivations; float32."""
    d_h = d_share.float() @ weight.float()
    if plan.cell.name == "gru":
        return [d_h + d_carry]
    return [d_h, d_carry] if "c" in plan.cell.states else [d_h]


def _part(plan: Plan, d_state: list[Tensor], d_fresh: list[Tensor]) -> list[Tensor | None]:
    """Gradients of the initial states, then of the fresh ones, which take those of rows reset before step 0."""
    if plan.resets is None:
        return [*d_state, *[None] * len(d_fresh)]
    cut = plan.resets[0].bool().unsqueeze(-1)
    fresh = [new + torch.where(cut, each, 0) for new, each in zip(d_fresh, d_state, strict=True)]
    return [*(torch.where(cut, 0, each) for each in d_state), *fresh]


def _before(plan: Plan, states: Tensor, fresh: Tensor) -> Tensor:
    """(time, batch, hidden_size): the state that each step read, of `states` (time + 1, ...)."""
    if plan.resets is None:
        return states[:-1]
    return torch.where(plan.resets.bool().unsqueeze(-1), fresh, states[:-1])


def _peephole_gradient(d_x: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """The sums over all steps and rows: i and f see the cell state before the step, o the one after it."""
    i, f, _, o = d_x.float().chunk(4, dim=-1)
    return torch.cat([(gate * c).sum((0, 1)) for gate, c in ((i, before), (f, before), (o, after))])


def _weight_gradient(d_share: Tensor, before: Tensor) -> Tensor:
    """The sum over all steps of d_share h_(t-1)^T, in one product."""
    return d_share.flatten(0, 1).T @ before.flatten(0, 1).to(d_share.dtype)


def _halves(states: State) -> tuple[State, State]:
    half = len(states) // 2
    return states[:half], states[half:]


def _programs(batch: int, rows: int) -> int:
    return -(-batch // rows)


def _power_of_two(least: int) -> int:
    return 1 << (least - 1).bit_length()


def _precision(weight: Tensor) -> str:
    if not weight.is_cuda and weight.dtype == torch.bfloat16:
        # Triton's interpreter multiplies the bit patterns of bfloat16; in float32 the same products are exact.
        return "widened"
    return "tf32" if torch.backends.cuda.matmul.allow_tf32 else "ieee"


def _on_device(tensor: Tensor) -> AbstractContextManager[Any]:
    """Triton launches on the current device, which need not be that of the tensors."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()
