"""Tasks: estimators from data to a trained model, and back from its folder."""

from __future__ import annotations

from storyline import artifact
from storyline.tasks.answerer import Answerer
from storyline.tasks.chatbot import Chatbot
from storyline.tasks.classifier import Classifier
from storyline.tasks.estimator import StrPath
from storyline.tasks.language import LanguageModel
from storyline.tasks.summarizer import Summarizer
from storyline.tasks.tagger import Tagger
from storyline.tasks.text_writer import UnseenLengthWarning
from storyline.tasks.translator import Translator
from storyline.tasks.word_vectors import WordVectors

__all__ = [
    "Answerer",
    "Chatbot",
    "Classifier",
    "LanguageModel",
    "Summarizer",
    "Tagger",
    "Translator",
    "UnseenLengthWarning",
    "WordVectors",
    "load",
]

Estimator = Answerer | Chatbot | Classifier | LanguageModel | Summarizer | Tagger | Translator
_TASKS: dict[str, type[Estimator]] = {
    kind.task: kind for kind in (Answerer, Chatbot, Classifier, LanguageModel, Summarizer, Tagger, Translator)
}


def load(folder: StrPath) -> Estimator:
    """The estimator that `save_pretrained` wrote into `folder`, of whatever task.

    Raises ArtifactError where the folder is missing, truncated, altered or of another version.
    """
    saved = artifact.load(folder)
    task = saved.config.get("task")
    if task not in _TASKS:
        raise artifact.ArtifactError(
            f"{folder} holds a model of the task {task!r}; known are {', '.join(_TASKS)}"
        )
    return _TASKS[task].from_artifact(saved)
