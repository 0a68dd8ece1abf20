"""The rows about torch's transformations, each beside a plain loop that needs none."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, grad, jvp, vmap

from storyline.capabilities.subject import BATCH, INPUT, TIME, Subject, Trial, flat, with_gradients

SAMPLES = 3


def compiled(subject: Subject, **options: Any) -> str | None:
    """One graph, run as machine code, values and gradients."""
    torch.compiler.reset()

    def ask(trial: Trial) -> list[Tensor]:
        run = torch.compile(trial.layer, fullgraph=True)
        return with_gradients(trial, lambda input: run(input, **options), trial.input())

    def plain(trial: Trial) -> list[Tensor]:
        return with_gradients(trial, lambda input: trial.layer(input, **options), trial.input())

    return subject.agree(ask, plain)


def exported(subject: Subject, *, any_time: bool) -> str | None:
    """A program exported at one size and run at another."""
    longer = TIME + 2 if any_time else TIME

    def ask(trial: Trial) -> list[Tensor]:
        sizes = {1: torch.export.Dim("batch")} | ({0: torch.export.Dim("time")} if any_time else {})
        program = torch.export.export(trial.layer, (trial.input(),), dynamic_shapes={"input": sizes})
        return flat(program.module()(trial.draw(longer, BATCH + 3, INPUT)))

    def plain(trial: Trial) -> list[Tensor]:
        return flat(trial.layer(trial.draw(longer, BATCH + 3, INPUT)))

    return subject.agree(ask, plain)


def batched(subject: Subject) -> str | None:
    """torch.func.vmap over one more dimension of the input."""

    def ask(trial: Trial) -> list[Tensor]:
        return list(vmap(lambda input: tuple(flat(trial.layer(input))))(trial.input(SAMPLES)))

    def plain(trial: Trial) -> list[Tensor]:
        singly = [flat(trial.layer(input)) for input in trial.input(SAMPLES)]
        return [torch.stack(each) for each in zip(*singly, strict=True)]

    return subject.agree(ask, plain)


def per_sample_gradients(subject: Subject) -> str | None:
    """vmap(grad): the gradient of every row's own loss."""

    def ask(trial: Trial) -> list[Tensor]:
        def loss(weights: dict[str, Tensor], row: Tensor) -> Tensor:
            return trial.loss(functional_call(trial.layer, weights, (row.unsqueeze(1),)))

        weights = {name: value.detach() for name, value in trial.layer.named_parameters()}
        return list(vmap(grad(loss), in_dims=(None, 1))(weights, trial.input()).values())

    def plain(trial: Trial) -> list[Tensor]:
        rows = [row.unsqueeze(1) for row in trial.input().unbind(1)]
        weights = list(trial.layer.parameters())
        singly = [torch.autograd.grad(trial.loss(trial.layer(row)), weights) for row in rows]
        return [torch.stack(each) for each in zip(*singly, strict=True)]

    return subject.agree(ask, plain)


def forward_mode(subject: Subject) -> str | None:
    """A directional derivative by torch.func.jvp, beside that of the gradient."""

    def ask(trial: Trial) -> list[Tensor]:
        direction = trial.draw(TIME, BATCH, INPUT, seed=1)
        return list(jvp(lambda input: trial.loss(trial.layer(input)), (trial.input(),), (direction,)))

    def plain(trial: Trial) -> list[Tensor]:
        input = trial.input().requires_grad_()
        loss = trial.loss(trial.layer(input))
        (gradient,) = torch.autograd.grad(loss, input)
        return [loss, (gradient * trial.draw(TIME, BATCH, INPUT, seed=1)).sum()]

    return subject.agree(ask, plain)


def double_backward(subject: Subject) -> str | None:
    """The gradient of a gradient's norm, as in a gradient penalty."""

    def ask(trial: Trial) -> list[Tensor]:
        input = trial.input().requires_grad_()
        loss = trial.loss(trial.layer(input))
        (gradient,) = torch.autograd.grad(loss, input, create_graph=True)
        return list(torch.autograd.grad(gradient.square().sum(), [input, *trial.layer.parameters()]))

    return subject.agree(ask)
