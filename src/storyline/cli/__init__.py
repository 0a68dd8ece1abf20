"""The command line: `storyline train | evaluate | predict | generate | memory | bench | demo | capabilities`.

Exit codes: 0 done; 1 a defect of ours (with a traceback); 2 input or settings that cannot be used;
3 training diverged; 130 interrupted by Ctrl-C.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    try:
        from storyline.cli.app import app
    except KeyboardInterrupt:
        # typer is not there yet to say it.
        sys.stderr.write("error: interrupted: the command did not begin\n")
        sys.exit(130)
    app()
