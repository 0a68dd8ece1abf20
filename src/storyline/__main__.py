"""`python -m storyline` is `storyline`."""

from storyline.cli import main

main()
