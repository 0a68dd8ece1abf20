"""Additive attention of the hypotheses of a search, to sources that are never repeated for them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from storyline.kernels import native
from storyline.kernels.arguments import DTYPES
from storyline.kernels.native_call import threads_for

# `largest_key` of csrc/attention.h: up to it neither e^(2 key) nor its product with e^(2 query) leaves float32's range.
_LARGEST_KEY = 14.0
# What a tanh, a softmax's share of it and its context cost beside a multiply-add.
_A_TANH = 8
_WHOLE = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def prepared_source(keys: Tensor, values: Tensor, lengths: Tensor) -> dict[str, Tensor]:
    """What `attend` reads of sources, computed once; on the CPU, in float32 or float64.

    keys     (sentences, source, size): U h of each token h; what stands in the padding counts for nothing
    values   (sentences, source, read): what the weights take the mean of, in the keys' dtype
    lengths  (sentences,) of whole numbers: tokens of each source, from 1 to source

    Returns a row a sentence of each: powers, e^(2 key), or the keys themselves where `large`: where one is beyond 14,
    and its power beyond float32; projected, the values; lengths, in int64.
    Raises ValueError where something does not fit.
    """
    _check_source(keys, values, lengths)
    lengths = lengths.to(torch.int64)
    inside = torch.arange(keys.shape[1], device=lengths.device) < lengths.unsqueeze(1)
    large = ((keys.abs().amax(2) > _LARGEST_KEY) & inside).any(1)
    powers = (2 * keys).exp_()
    if large.any():
        powers[large] = keys[large]
    return {
        "powers": powers.contiguous(), "large": large, "projected": values.resolve_neg().contiguous(),
        "lengths": lengths.contiguous(),
    }  # fmt: skip


def attend(
    query: Tensor, vector: Tensor, source: Mapping[str, Tensor], sentences: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Context and weights: softmax over the tokens of v' tanh(q + k) (Bahdanau et al. 2015, appendix A.1.2).

    query      (rows, size): W s of each hypothesis; those of a sentence, the same number of each, behind one another
    vector     (size,): v
    source     as `prepared_source` gave it
    sentences  (n,) int64 on the CPU: which of its sentences ask; None: all, in their order

    Returns (rows, read) and (rows, source), 0 in the padding. A row has the same bits whatever rows are beside it.
    Raises ValueError where something does not fit, or asks for a gradient.
    """
    assert native.module is not None
    powers, values = source["powers"], source["projected"]
    if sentences is None:
        sentences = torch.arange(len(powers), device=powers.device)
    _check(query, vector, source, sentences)
    (_, length, size), read = powers.shape, values.shape[2]
    query, vector, sentences = (each.detach().contiguous() for each in (query, vector, sentences))
    context, weights = query.new_empty(len(query), read), query.new_empty(len(query), length)
    parts = (query, powers, vector, values, source["large"], source["lengths"], sentences, context, weights)
    run = native.module.attend_float if query.dtype == torch.float32 else native.module.attend_double
    threads = max(1, min(threads_for(len(query) * length * (_A_TANH * size + read)), len(sentences)))
    width = len(query) // max(1, len(sentences))
    # Which sentence is none of the source's, or has a length that it cannot have, is looked at there: it costs nothing.
    run(
        (len(powers), len(sentences), width, length, size, read),
        tuple(each.data_ptr() for each in parts),
        threads,
    )
    return context, weights


def _check(query: Tensor, vector: Tensor, source: Mapping[str, Tensor], sentences: Tensor) -> None:
    powers = source["powers"]
    fits = query.dim() == 2 and query.shape[1] == powers.shape[2] and vector.shape == query.shape[1:]
    if not fits or len(query) % max(1, len(sentences)) or (len(query) and not len(sentences)):
        raise ValueError(
            f"query has shape {tuple(query.shape)}, vector {tuple(vector.shape)}; of {len(sentences)} sentences they "
            f"must be (sentences * width, {powers.shape[2]}) and ({powers.shape[2]},)"
        )
    for each in (query, vector):
        if each.dtype != powers.dtype or each.device != powers.device or each.is_neg():
            raise ValueError(
                f"query and vector must be {powers.dtype} on {powers.device}, as the source; one is {each.dtype} on "
                f"{each.device}"
            )
        if each.requires_grad and torch.is_grad_enabled():
            raise ValueError(
                "a gradient is asked for, and attention of a search computes none; use torch.no_grad()"
            )
    if sentences.dtype != torch.int64 or not sentences.is_cpu or sentences.dim() != 1:
        raise ValueError(
            f"sentences are {tuple(sentences.shape)} of {sentences.dtype} on {sentences.device}; they must be (n,) of "
            "torch.int64 on cpu"
        )
    # Numbers, and not shapes, which take several times as long: enough that nothing is read beyond a part's end.
    of_source, length, _ = powers.shape
    for name, dtype, numbers in (
        ("powers", query.dtype, powers.numel()),
        ("projected", query.dtype, of_source * length * source["projected"].shape[-1]),
        ("lengths", torch.int64, of_source),
        ("large", torch.bool, of_source),
    ):
        part = source[name]
        if part.dtype != dtype or part.numel() != numbers or not (part.is_cpu and part.is_contiguous()):
            raise ValueError(
                f"{name} of the source is {tuple(part.shape)} of {part.dtype} on {part.device}; it must be dense, "
                f"{dtype}, on the CPU, and of {of_source} sentences, as prepared_source gives it"
            )


def _check_source(keys: Tensor, values: Tensor, lengths: Tensor) -> None:
    fits = keys.dim() == values.dim() == 3 and values.shape[:2] == keys.shape[:2]
    if not fits or lengths.shape != keys.shape[:1]:
        raise ValueError(
            f"keys have shape {tuple(keys.shape)}, values {tuple(values.shape)} and lengths {tuple(lengths.shape)}; "
            "they must be (sentences, source, size), (sentences, source, read) and (sentences,)"
        )
    if keys.dtype not in DTYPES or values.dtype != keys.dtype:
        raise ValueError(
            f"keys are {keys.dtype} and values {values.dtype}; both must be torch.float32, or both torch.float64"
        )
    if lengths.dtype not in _WHOLE:
        raise ValueError(
            f"lengths are {lengths.dtype}; they must be whole numbers: convert them to torch.int64"
        )
    if any(each.device.type != "cpu" for each in (keys, values, lengths)):
        raise ValueError(
            f"keys are on {keys.device}, values on {values.device} and lengths on {lengths.device}; they "
            "must be on the CPU"
        )
    outside = [(row, n) for row, n in enumerate(lengths.tolist()) if not 1 <= n <= keys.shape[1]]
    if outside:
        row, length = outside[0]
        raise ValueError(
            f"lengths[{row}] is {length}; every source needs at least one token, and has at most {keys.shape[1]}"
        )
