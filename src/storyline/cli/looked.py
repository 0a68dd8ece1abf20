"""Where a model of pairs looked, for the page of `storyline memory`: alignments of a few pairs of the data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from storyline.cli.examples import Examples
    from storyline.memory.report.page import Section

# Alignments drawn, and the tokens of a side up to which one can be read.
_SHOWN, _LONGEST = 3, 40


def alignment_sections(estimator: Any, examples: Examples) -> list[Section]:
    """A section with the alignments of the first pairs that are short enough to be read; none without attention."""
    from storyline.cli.writing import lengths_said_later
    from storyline.memory.report.figures import to_svg
    from storyline.memory.report.page import Picture, Section

    if not estimator.network_.attends:
        return []
    pictures: list[Picture] = []
    for source in examples.inputs:
        if len(pictures) == _SHOWN:
            break
        if not source.strip() or len(estimator.encoder_.source.encode(source)) > _LONGEST:
            continue
        with lengths_said_later():
            written = estimator.predict([source])[0]
        if len(estimator.encoder_.target.encode(written)) > _LONGEST:
            continue
        found = estimator.attention(source, written)
        caption = f"“{source}” became “{written}”: the darker, the more of the source token went into the target token."
        pictures.append(
            Picture(to_svg(found.plot().figure, f"alignment-{len(pictures)}", caption), caption, wide=True)
        )
    if not pictures:
        return [
            Section(
                "Where it looked", [f"No pair has {_LONGEST} tokens or fewer on both sides; none is drawn."]
            )
        ]
    return [Section("Where it looked", pictures)]
