"""Ctrl-C while a training runs: the first is noted, a second one breaks in, but never into a half-done update."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Interruption:
    """What Ctrl-C asked for, and whether it may break in where the training now is.

    The loop allows it around what takes long and can be dropped: a step's forward and backward pass, and a
    validation. Everything else (the update, the counters, a checkpoint) is done to its end.
    """

    def __init__(self) -> None:
        self.requested = False
        self._pressed_again = False
        self._allowed = False

    def press(self) -> None:
        """Take a Ctrl-C; KeyboardInterrupt where it is the second one and may break in."""
        self._pressed_again, self.requested = self.requested, True
        self._break_in()

    def allow(self) -> None:
        """From here on a second Ctrl-C breaks in; one that came before does so now."""
        self._allowed = True
        self._break_in()

    def forbid(self) -> None:
        """From here on none does."""
        self._allowed = False

    def _break_in(self) -> None:
        if self._allowed and self._pressed_again:
            # Who cleans up after this KeyboardInterrupt is not interrupted by a third.
            self._allowed = False
            raise KeyboardInterrupt


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Within it Ctrl-C goes to the Interruption that it gives.

    Only where Python's own handler is in place, and in the main thread: another's handler is left alone.
    """
    interruption = Interruption()
    own = threading.current_thread() is threading.main_thread()
    if not own or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield interruption
        return
    signal.signal(signal.SIGINT, lambda number, frame: interruption.press())
    try:
        yield interruption
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
