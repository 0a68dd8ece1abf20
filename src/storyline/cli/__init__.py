"""The command line: `storyline train | evaluate | predict | generate | memory | demo | capabilities`.

Exit codes: 0 done; 1 a defect of ours (with a traceback); 2 input or settings that cannot be used;
3 training diverged; 130 interrupted by Ctrl-C.
"""

from __future__ import annotations


def main() -> None:
    """Run the command line."""
    from storyline.cli.app import app

    app()
