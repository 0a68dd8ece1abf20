"""Stories to remember: facts told, many words between, and a question; from templates and real prose.

story = Story("party", distance=450, filling="novels/")
model = learn(story, "lstm")                                     # storyline.stories.learning
for each in recall_over_distance(model.answers, story, [450, 25_000]):
    print(each.distance, each.accuracy, each.interval)
"""

from storyline.stories.bag import bag_of_words
from storyline.stories.catalogue import KINDS
from storyline.stories.examples import Examples
from storyline.stories.filling import Filling, read_filling
from storyline.stories.kind import Kind
from storyline.stories.scoring import Recall, headline, longest_recalled, recall, recall_over_distance
from storyline.stories.story import Story

STORIES: tuple[str, ...] = tuple(KINDS)

__all__ = [
    "KINDS",
    "STORIES",
    "Examples",
    "Filling",
    "Kind",
    "Recall",
    "Story",
    "bag_of_words",
    "headline",
    "longest_recalled",
    "read_filling",
    "recall",
    "recall_over_distance",
]
