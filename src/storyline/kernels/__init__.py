"""The scan of `storyline.cells`, made fast: which backend serves a call, and the backends."""

from storyline.kernels.additive_attention import attend, prepared_source
from storyline.kernels.arguments import check_memory
from storyline.kernels.backend import BACKENDS, choose_backend, native_backend, recurrence
from storyline.kernels.checkpointed import checkpointed
from storyline.kernels.cpu import why_not_cpu
from storyline.kernels.fused import fused, fused_stack
from storyline.kernels.native_stream import native_stream, round_to_bfloat16
from storyline.kernels.packed_step import PackedStep
from storyline.kernels.projection import Projection, why_no_projection
from storyline.kernels.ragged import Ragged, reverse_resets
from storyline.kernels.reference import reference
from storyline.kernels.short_scan import ShortScan, is_plain, reads_tensors
from storyline.kernels.transforms import refuse_unseen, values_of
from storyline.kernels.weights import Recurrence, Weights

__all__ = [
    "BACKENDS",
    "PackedStep",
    "Projection",
    "Ragged",
    "Recurrence",
    "ShortScan",
    "Weights",
    "attend",
    "check_memory",
    "checkpointed",
    "choose_backend",
    "fused",
    "fused_stack",
    "is_plain",
    "native_backend",
    "native_stream",
    "prepared_source",
    "reads_tensors",
    "recurrence",
    "reference",
    "refuse_unseen",
    "reverse_resets",
    "round_to_bfloat16",
    "values_of",
    "why_no_projection",
    "why_not_cpu",
]
