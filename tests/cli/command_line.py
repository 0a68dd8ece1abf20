"""What the tests of the command line share: its type, and the settings that train in a second."""

from __future__ import annotations

from collections.abc import Callable

from typer.testing import Result

Command = Callable[..., Result]
QUICK = ("--hidden-size", "8", "--epochs", "2", "--threads", "2", "--set", "embedding_size=8")
