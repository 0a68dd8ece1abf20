"""Stories to remember: facts told, many words between, and a question; from templates and real prose."""

from storyline.stories.catalogue import KINDS
from storyline.stories.examples import Examples
from storyline.stories.filling import Filling, read_filling
from storyline.stories.kind import Kind
from storyline.stories.story import Story

STORIES: tuple[str, ...] = tuple(KINDS)

__all__ = ["STORIES", "Examples", "Filling", "Kind", "Story", "read_filling"]
