"""What all estimators share: a fit without side effects, the training run, and the model folder."""

from __future__ import annotations

import functools
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Generic, ParamSpec, Self, TypeVar

import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import nn

from storyline import __version__, artifact
from storyline.layers import GRU, LSTM, RNN
from storyline.tasks.settings import ModelSettings, check_settings
from storyline.training import Identity, Program, TrainingSettings, train

Listeners = Sequence[Callable[[Any], None]]
StrPath = str | Path
Network = TypeVar("Network", bound=nn.Module)
Given = ParamSpec("Given")
Fitted = TypeVar("Fitted")
CORES: dict[str, type[LSTM] | type[GRU] | type[RNN]] = {"lstm": LSTM, "gru": GRU, "rnn": RNN}


@contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """Torch's generator of the CPU, where networks are made, seeded inside; the caller's is put back."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


@contextmanager
def measuring(threads: int | None) -> Iterator[None]:
    """Without gradients, and on `threads` threads (None: the caller's) inside."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        with torch.no_grad():
            yield
    finally:
        torch.set_num_threads(before)


def unharmed(fit: Callable[Given, Fitted]) -> Callable[Given, Fitted]:
    """A fit that, refused or interrupted, leaves the estimator as it was: what it had learned before still answers."""

    @functools.wraps(fit)
    def whole(*args: Given.args, **kwargs: Given.kwargs) -> Fitted:
        attributes = vars(args[0])
        before = dict(attributes)
        try:
            return fit(*args, **kwargs)
        except BaseException:
            attributes.clear()
            attributes.update(before)
            raise

    return whole


class SequenceEstimator(BaseEstimator, ABC, Generic[Network]):  # type: ignore[misc]
    """A task: what was fitted, how it is saved and loaded, and how it is built again untrained.

    network_    the trained module, on the CPU
    resolved_   the settings with every "auto" replaced by what it became
    unknown_    how many of how many tokens were unknown when data was last read
    history_    the lines of metrics.jsonl; empty in a model that was loaded
    training_summary_  how the training went: steps, seconds, best validation, ...
    """

    task: ClassVar[str]
    settings_type: ClassVar[type[ModelSettings]]

    network_: Network
    resolved_: ModelSettings
    unknown_: tuple[int, int]
    history_: list[dict[str, Any]]
    training_summary_: dict[str, Any]

    def _keep(self, arguments: dict[str, Any]) -> None:
        """Each argument of the constructor becomes the attribute of its name, as scikit-learn wants it: as it came.

        `get_params` and `clone` read the names from the constructor's signature; `fit` checks the values.
        """
        for name, value in arguments.items():
            if name != "self":
                setattr(self, name, value)

    @abstractmethod
    def _new_network(self) -> Network:
        """The network with its initial weights, from what was fitted before it; draws from torch's generator."""

    @abstractmethod
    def _documents(self) -> dict[str, Any]:
        """What stands beside the weights: JSON-able, by file name."""

    @abstractmethod
    def _restore(self, documents: dict[str, Any]) -> None:
        """The inverse of `_documents`."""

    def initial_network(self) -> Network:
        """The network as it was before training, bit for bit: built again from the seed.

        Word vectors that came from texts are not in it: the embedding is then as drawn. After a warm start it is
        what the seed gives, not what the fit before had learned.
        """
        check_is_fitted(self)
        return self._built()

    def save_pretrained(self, folder: StrPath, *, documents: Mapping[str, str] | None = None) -> None:
        """Write config.json, model.safetensors and the vocabulary into `folder`, all of it or nothing.

        `documents`: further files by name. Raises ArtifactError where the folder cannot be written.
        """
        check_is_fitted(self)
        settings = {name: _plain(value) for name, value in self.get_params(deep=False).items()}
        config = {
            "task": self.task,
            "settings": settings,
            "resolved": self.resolved_.model_dump(),
            "summary": self.training_summary_,
        }
        own = {
            name: json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n"
            for name, content in self._documents().items()
        }
        artifact.save(
            folder, config=config, tensors=self.network_.state_dict(), documents={**own, **(documents or {})}
        )

    @classmethod
    def from_pretrained(cls, folder: StrPath) -> Self:
        """The estimator that `save_pretrained` wrote; its predictions are the same bit for bit.

        Raises ArtifactError where the folder is missing, truncated, altered or of another version, ValueError where
        it holds a model of another task.
        """
        saved = artifact.load(folder)
        if saved.config.get("task") != cls.task:
            raise ValueError(
                f"{folder} holds a model of the task {saved.config.get('task')!r}, this is {cls.task!r}; "
                "use storyline.load, which finds the right one"
            )
        return cls.from_artifact(saved)

    @classmethod
    def from_artifact(cls, saved: artifact.Artifact) -> Self:
        """The estimator that was saved, from what was read of its folder.

        Raises ArtifactError where it was saved with settings that this version does not have.
        """
        if unknown := sorted(set(saved.config["settings"]) - set(cls._get_param_names())):
            raise artifact.ArtifactError(
                f"the model was saved with {', '.join(unknown)}, which no {cls.__name__} of storyline {__version__} "
                "has; load it with the version that saved it, or train it again"
            )
        estimator = cls(**saved.config["settings"])
        estimator.resolved_ = check_settings(cls.settings_type, saved.config["resolved"])
        estimator.unknown_, estimator.history_ = (0, 0), []
        estimator.training_summary_ = saved.config["summary"]
        estimator._restore({name: json.loads(saved.text(name)) for name in cls._document_names(saved)})
        estimator.network_ = estimator._built()
        estimator.network_.load_state_dict(saved.tensors)
        estimator.network_.eval()
        return estimator

    @classmethod
    @abstractmethod
    def _document_names(cls, saved: artifact.Artifact) -> Sequence[str]:
        """Which of the saved documents `_restore` reads."""

    def _unknown_share(self) -> float | None:
        """The share of unknown words in the validation part; None where none were read."""
        unknown, units = self.unknown_
        return unknown / units if units else None

    def _built(self) -> Network:
        with reproducible(self.resolved_.seed):
            return self._new_network().eval()

    def _train(
        self,
        program: Program,
        data: Mapping[str, Any],
        *,
        folder: StrPath | None,
        resume: bool,
        events: Listeners,
        **extra: Any,
    ) -> None:
        """Train `program.module`; it becomes `network_`, and what is known of the run `training_summary_`.

        `data` is what fit was given, by name; a run is not resumed with other data.
        """
        resolved = self.resolved_.model_dump()
        settings = TrainingSettings(
            **{name: resolved[name] for name in TrainingSettings.model_fields if name in resolved}
        )
        place = Path(folder) if folder is not None else None
        result = train(
            program, settings, folder=place, resume=resume, events=events, identity=Identity(resolved, data)
        )
        self.network_ = program.module.cpu().eval()  # type: ignore[assignment]
        self.history_ = result.history
        self.training_summary_ = {
            "steps": result.steps,
            "epochs": result.epochs,
            "seconds": round(result.seconds, 3),
            "best": result.best,
            "stopped_early": result.stopped_early,
            "clipped_share": result.clipped_share,
            "gradient_norm": result.gradient_norm,
            "unknown_share": self._unknown_share(),
            "parameters": sum(parameter.numel() for parameter in self.network_.parameters()),
            "remember": self.resolved_.remember,
            **extra,
        }


def take_weights(network: nn.Module, before: nn.Module) -> None:
    """Give `network` the weights of `before`; ValueError where their sizes differ."""
    old, new = before.state_dict(), network.state_dict()
    for name, value in new.items():
        if name not in old or old[name].shape != value.shape:
            was = tuple(old[name].shape) if name in old else "not there"
            raise ValueError(
                f"warm_start cannot go on: {name} is {tuple(value.shape)} and was {was}; keep the settings and the "
                "channels of the fit before, or set warm_start=False"
            )
    # Vectors that were frozen may be tuned from now on.
    network.load_state_dict(
        {name: value for name, value in old.items() if name in new or "frozen" not in name}
    )


def recurrent(
    settings: ModelSettings, input_size: int, *, bidirectional: bool, dropout: float
) -> LSTM | GRU | RNN:
    """The recurrent stack that the settings ask for, batch first; `dropout` stands between its layers."""
    assert settings.remember != "auto"
    layer = CORES[settings.core](
        input_size,
        settings.hidden_size,
        num_layers=settings.num_layers,
        batch_first=True,
        dropout=dropout if settings.num_layers > 1 else 0.0,
        bidirectional=bidirectional,
        remember=settings.remember,
        learn_initial_state=settings.learn_initial_state,
        backend=settings.backend,
    )
    return layer


def steps_to_remember(settings: ModelSettings, steps: float) -> int | None:
    """What `remember` becomes: "auto" is `steps`, at least 3.

    For a vanilla RNN that leaves torch's initialisation; a Transformer has none to change.
    """
    if settings.remember != "auto":
        return settings.remember
    return None if settings.core in ("rnn", "transformer") else max(3, round(steps))


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
