"""`storyline train chat`, `storyline chat`: lines in a pipe, a prompt at a terminal, a conversation kept in a file."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from command_line import Command
from typer.testing import CliRunner, Result

from storyline.cli.app import app
from storyline.tasks import load

QUICK = ("--hidden-size", "8", "--epochs", "2", "--threads", "1")
DIALOGUES = [["hello", "hello to you", "how are you?", "fine"], ["bye", "see you"]] * 20


@pytest.fixture(scope="module")
def bot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chatbot's folder, trained by the command line."""
    folder = tmp_path_factory.mktemp("chat")
    data = folder / "dialogues.jsonl"
    data.write_text("".join(json.dumps({"turns": turns}) + "\n" for turns in DIALOGUES), encoding="utf-8")
    out = folder / "model"
    result = CliRunner().invoke(
        app, ["train", "chat", str(data), "--out", str(out), *QUICK, "--set", "max_vocabulary=300"]
    )
    assert result.exit_code == 0, result.output
    assert f"storyline chat {out}" in result.output
    return out


def talk(bot: Path, told: str | bytes, *options: str | Path) -> Result:
    """The command with `told` in its pipe."""
    arguments = ["chat", str(bot), "--longest", "20", *map(str, options)]
    return CliRunner().invoke(app, arguments, input=told)


def test_a_reply_to_each_line_of_a_pipe(bot: Path) -> None:
    chat = load(bot).conversation(seed=1)
    replies = [chat.reply(turn, temperature=0.8, longest=20) for turn in ("hello", "Wie geht's?")]
    result = talk(bot, "hello\n\nWie geht's?", "--seed", "1")
    assert result.exit_code == 0
    assert result.stdout == f"{replies[0]}\n\n{replies[1]}\n"
    assert "note: 1 empty lines are no turns" in result.stderr
    assert talk(bot, "").stdout == ""
    searched = load(bot).conversation().reply("hello", beam=3, longest=20)
    assert talk(bot, "hello\n", "--beam", "3").stdout == f"{searched}\n"


def test_a_conversation_goes_on_from_its_file(bot: Path, tmp_path: Path) -> None:
    file = tmp_path / "sub" / "chat.state"
    whole = talk(bot, "hello\nhow are you?\nbye\n", "--seed", "3", "--temperature", "1.5").stdout
    first = talk(bot, "hello\n", "--seed", "3", "--temperature", "1.5", "--state", file).stdout
    rest = talk(bot, "how are you?\nbye\n", "--temperature", "1.5", "--state", file).stdout
    assert first + rest == whole
    assert load(bot).resume_conversation(file).state.turns == 6
    refused = talk(bot, "hello\n", "--seed", "3", "--state", file)
    assert refused.exit_code == 2
    assert "--seed begins a conversation" in refused.stderr


def test_a_kill_loses_at_most_the_turn(bot: Path, tmp_path: Path) -> None:
    file = tmp_path / "chat.state"
    command = [sys.executable, "-m", "storyline", "chat", str(bot), "--state", str(file), "--seed", "5"]
    twin = load(bot).conversation(seed=5)
    with subprocess.Popen(
        [*command, "--longest", "20"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for turn in ("hello", "how are you?"):
            process.stdin.write(f"{turn}\n")
            process.stdin.flush()
            assert process.stdout.readline() == twin.reply(turn, temperature=0.8, longest=20) + "\n"
        process.send_signal(signal.SIGKILL)
    again = load(bot).resume_conversation(file)
    assert again.state.turns == 4
    assert again.reply("bye") == twin.reply("bye")


class Terminal:
    """The user's side of a terminal, at which a command runs."""

    def __init__(self, *command: str) -> None:
        self.side, theirs = pty.openpty()
        self.process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=own_terminal,
        )
        os.close(theirs)
        self.shown, self._unread = "", ""

    def until(self, text: str, seconds: float = 120.0) -> None:
        """Wait until `text` is shown, after what was waited for before."""
        deadline = time.monotonic() + seconds
        while text not in self._unread:
            if time.monotonic() > deadline:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"no {text!r} in {self._unread!r}")
            if select.select([self.side], [], [], 1.0)[0]:
                piece = os.read(self.side, 4096).decode(errors="replace")
                self.shown, self._unread = self.shown + piece, self._unread + piece
        self._unread = self._unread.split(text, 1)[1]

    def type(self, text: str) -> None:
        os.write(self.side, text.encode())


def own_terminal() -> None:
    """Make the standard input the terminal of the process, so that Ctrl-C at it is a signal."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.mark.parametrize("leave", ["\x03", "\x04"], ids=["Ctrl-C", "Ctrl-D"])
def test_a_prompt_that_is_left_cleanly(bot: Path, tmp_path: Path, leave: str) -> None:
    file = tmp_path / "chat.state"
    user = Terminal(
        sys.executable, "-m", "storyline", "chat", str(bot), "--state", str(file), "--longest", "20"
    )
    user.until("> ")
    user.type("\n")
    user.until("say something")
    user.until("> ")
    user.type("hello\n")
    user.until("hello")
    user.until("> ")
    user.type(leave)
    user.until("the conversation is in")
    assert user.process.wait(timeout=60) == 0, user.shown
    os.close(user.side)
    assert "Traceback" not in user.shown
    assert load(bot).resume_conversation(file).state.turns == 2


def test_evaluates_and_measures_the_memory(bot: Path, storyline: Command) -> None:
    data = bot.parent / "dialogues.jsonl"
    found = json.loads(storyline("evaluate", bot, data, "--json").output)
    assert found["turns"] == 120
    assert found["perplexity"] < 20
    assert storyline("memory", bot, data).exit_code == 0


@pytest.mark.parametrize(
    ("told", "options", "message"),
    [
        (b"hello\n\xff\n", (), "line 2 of the input is not UTF-8 (byte 1 of the line is 0xff)"),
        ("hello\n", ("--temperature", "-1"), "temperature is -1.0; it must be 0 or more"),
        ("hello\n", ("--longest", "0"), "longest is 0"),
        ("hello\n", ("--beam", "0"), "width is 0"),
        ("hello\n", ("--beam", "2", "--temperature", "1"), "--beam draws nothing"),
        ("hello\n", ("--state", "{folder}"), "is a folder"),
        ("hello\n", ("--state", "{model}/config.json"), "is no conversation, or a damaged one"),
    ],
)
def test_refuses(
    bot: Path, told: str | bytes, options: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    result = talk(bot, told, *(option.format(folder=tmp_path, model=bot) for option in options))
    assert result.exit_code == 2
    assert message in result.stderr


def test_refuses_other_models_and_says_what_an_unfinished_row_is(
    storyline: Command, tale: Path, tmp_path: Path
) -> None:
    storyline("train", "language", tale, "--out", tmp_path / "tale", *QUICK, "--set", "max_steps=1")
    refused = talk(tmp_path / "tale", "hello\n")
    assert refused.exit_code == 2
    assert "chat wants one from `storyline train chat`" in refused.stderr
    data = tmp_path / "broken.jsonl"
    for second, message in (
        ('{"turns": "hello"}', "line 2, column 'turns': 'hello' where a list of turns was wanted"),
        ('{"turns": ["hello", ""]}', "line 2, column 'turns': turn 2 is empty"),
        ('{"turns": []}', "line 2, column 'turns': an empty list"),
        ('{"turns": ["hello", 3]}', "line 2, column 'turns': turn 2 is 3"),
    ):
        data.write_text(f'{{"turns": ["hello", "hi"]}}\n{second}\n', encoding="utf-8")
        result = storyline("train", "chat", data, "--out", tmp_path / "new")
        assert result.exit_code == 2
        assert message in result.output
    data.write_text('{"turns": ["hello"]}\n{"turns": ["bye"]}\n', encoding="utf-8")
    result = storyline("train", "chat", data, "--out", tmp_path / "new")
    assert "none of the 2 dialogues has a second turn" in result.output
