"""Compile every triton kernel for a GPU that need not be there; `python compile_triton.py ARCHITECTURE`.

Triton's interpreter takes what its compiler would refuse, so the tests run this too, in a process of its own
because the interpreter is chosen for a whole process. Prints a line a kernel: cell, dtype, hidden size,
kernel, bytes of shared memory, barriers that end a step.
"""

from __future__ import annotations

import re
import sys
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from storyline.cells import CELLS
from storyline.kernels.triton import CELLS as SERVED
from storyline.kernels.triton.backward import backward_kernel
from storyline.kernels.triton.forward import forward_kernel
from storyline.kernels.triton.scan import Plan

NARROW = {"x", "weight", "bias", "peephole", "gates", "d_output", "d_x", "d_share"}
OTHERS = {"lengths": "*i64", "resets": "*u8", "batch": "i32", "slots": "i32"}


def compiled(kernel: Any, cell: str, dtype: torch.dtype, hidden_size: int, architecture: int) -> Any:
    name = {torch.float32: "fp32", torch.bfloat16: "bf16"}[dtype]
    weight = torch.empty(1, dtype=dtype)
    blocks = Plan(CELLS[cell], torch.empty(0), torch.empty(0), save=True).blocks(hidden_size, weight)
    warps = blocks.pop("num_warps")
    blocks |= {"HAS_BIAS": True, "PRECISION": "ieee"}
    signature, constants, aligned = {}, {}, {}
    for place, argument in enumerate(kernel.arg_names):
        if argument.isupper():
            signature[argument], constants[(place,)] = "constexpr", blocks[argument]
        else:
            signature[argument] = OTHERS.get(argument, f"*{name}" if argument in NARROW else "*fp32")
            if signature[argument].startswith("*"):
                aligned[(place,)] = [["tt.divisibility", 16]]
    source = ASTSource(kernel, signature, constexprs=constants, attrs=aligned)
    return triton.compile(source, GPUTarget("cuda", architecture, 32), options={"num_warps": warps})


def main(architecture: int) -> None:
    cases = [(cell, torch.float32, 128) for cell in SERVED] + [("lstm", torch.bfloat16, 64)]
    for cell, dtype, hidden_size in cases:
        for kernel in (forward_kernel, backward_kernel):
            result = compiled(kernel, cell, dtype, hidden_size, architecture)
            assert len(result.asm["cubin"]) > 0
            # Four spaces deep stands the loop over time; a pipelined one would end in loads for the next step.
            ends = re.findall(r"\bbarrier.*\n    \}", result.asm["ttgir"])
            print(cell, dtype, hidden_size, kernel.__name__, result.metadata.shared, len(ends))


if __name__ == "__main__":
    main(int(sys.argv[1]))
