"""A process that helps another does not outlive it."""

from __future__ import annotations

import multiprocessing
import os
import threading


def end_with_parent() -> None:
    """End this process as soon as the one that started it is gone, killed by whatever.

    A thread waits at the pipe that `multiprocessing` leaves open in the parent; the system closes it with the parent,
    on a kill -9 too, where nothing else tells the children. In a process without such a parent nothing happens.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        # at once, in the middle of a training: nobody is left who would read its result
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()
