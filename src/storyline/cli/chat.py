"""`storyline chat model/`"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from storyline.cli.evaluate import Model, Threads, open_model
from storyline.cli.failures import fail, reported
from storyline.cli.output import refuse_place

if TYPE_CHECKING:
    from storyline.tasks.conversation import Conversation

# What is said to the conversation -> what it says.
Say = Callable[[str], str]


@reported
def chat(
    model: Model,
    state: Annotated[
        Path | None,
        typer.Option(
            "--state", help="A file to go on from, and to save the conversation to after every turn."
        ),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(help="Above 1 bolder, below 1 safer; 0 takes the likeliest.", show_default="0.8"),
    ] = None,
    top_k: Annotated[int | None, typer.Option(help="Draw from the k likeliest only.")] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Draw from the likeliest that hold this probability.")
    ] = None,
    beam: Annotated[
        int | None,
        typer.Option(
            help="Draw nothing: search for the likeliest reply, so many beginnings beside one another."
        ),
    ] = None,
    longest: Annotated[int, typer.Option(help="Tokens that a reply may have.")] = 100,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the drawing.", show_default="other replies each time")
    ] = None,
    threads: Threads = None,
) -> None:
    """Talk with a chatbot: at a prompt, or, where the input is no terminal, a reply to each line of it.

    Ctrl-D or Ctrl-C ends it. With --state a kill loses at most the turn that was not answered yet.
    """
    if beam is None:
        temperature = 0.8 if temperature is None else temperature
    elif temperature is not None or top_k is not None or top_p is not None:
        fail(
            "--beam draws nothing, so --temperature, --top-k and --top-p say nothing; leave them out, or --beam"
        )
    how = _checked(
        {"temperature": temperature, "top_k": top_k, "top_p": top_p, "beam": beam, "longest": longest}
    )
    estimator, run = open_model(model, threads=threads)
    if run.task != "chat":
        fail(f"{model} is from `storyline train {run.task}`; chat wants one from `storyline train chat`")
    conversation = _begun(estimator, state, seed)

    def say(turn: str) -> str:
        reply = conversation.reply(turn, **how)
        if state is not None:
            # Before the reply is shown: what the user has seen is kept.
            conversation.save(state)
        assert conversation.last is not None
        if conversation.last.cut:
            typer.echo(f"note: the reply was ended at {longest} tokens; --longest allows more", err=True)
        return reply

    if sys.stdin.isatty():
        _prompt(say, conversation, state)
    else:
        _answer_lines(say)


def _checked(how: dict[str, Any]) -> dict[str, Any]:
    """What was given of it, refused before anything is asked of the user."""
    from storyline.search import Beam, Sampling
    from storyline.tasks.generation import check_count

    given = {name: value for name, value in how.items() if value is not None}
    Sampling(**{name: value for name, value in given.items() if name in ("temperature", "top_k", "top_p")})
    check_count(given["longest"], "longest", 1)
    if "beam" in given:
        Beam(given["beam"])
    return given


def _begun(estimator: Any, state: Path | None, seed: int | None) -> Conversation:
    if state is None or not state.exists():
        if state is not None:
            refuse_place(state, "--state")
        begun: Conversation = estimator.conversation(seed=seed)
        return begun
    if seed is not None:
        fail(
            f"--seed begins a conversation, and {state} holds one that goes on with its own drawing; leave --seed out, "
            "or name another file"
        )
    resumed: Conversation = estimator.resume_conversation(state)
    return resumed


def _prompt(say: Say, conversation: Conversation, state: Path | None) -> None:
    """Ask at the terminal until the user leaves."""
    # For its side effect: lines can be edited, and called up again.
    import readline  # noqa: F401

    from rich.console import Console

    console = Console(highlight=False)
    if conversation.state.turns:
        console.print(f"{state} goes on after {conversation.state.turns:,} turns")
    try:
        while True:
            # The prompt is readline's to write: it knows then where the line begins, and shows it when keys are read.
            turn = input("> ")
            if turn.strip():
                console.print(say(turn), markup=False, soft_wrap=True)
            else:
                console.print("say something; Ctrl-D ends the conversation", style="yellow")
    except (EOFError, KeyboardInterrupt):
        console.print()
    if state is not None and conversation.state.turns:
        console.print(f"the conversation is in {state}")


def _answer_lines(say: Say) -> None:
    """A line out for each line in; an empty one stays empty, so that none is shifted."""
    empty = 0
    for line in _lines():
        if line.strip():
            # A turn that was learned may hold line breaks, and so may a reply.
            typer.echo(" ".join(say(line).split("\n")))
        else:
            typer.echo("")
            empty += 1
    if empty:
        typer.echo(f"note: {empty:,} empty lines are no turns, and have an empty line for a reply", err=True)


def _lines() -> Iterator[str]:
    """Each line of the standard input as soon as it is there."""
    for number, line in enumerate(sys.stdin.buffer, 1):
        try:
            yield line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"line {number} of the input is not UTF-8 (byte {error.start + 1} of the line is "
                f"0x{line[error.start]:02x}); write it as UTF-8"
            ) from None
