"""Tasks: estimators from data to a trained model, and back from its folder."""

from storyline.tasks.classifier import Classifier

__all__ = ["Classifier"]
