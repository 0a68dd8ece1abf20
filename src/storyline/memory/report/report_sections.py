"""A report laid out as a page: the numbers, the pictures with what they show, and what each number means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storyline.memory.report.event_figure import memory_event_figure
from storyline.memory.report.example import Example
from storyline.memory.report.figures import horizon_figure, need_figure, time_scale_figure, to_svg
from storyline.memory.report.page import Picture, Points, ReportTable, Section

if TYPE_CHECKING:
    from storyline.memory.report.report import MemoryReport


def sections(report: MemoryReport) -> list[Section]:
    """The report below its headline, for its own page or another."""
    from storyline.memory.report.report import COLUMNS

    caption = (
        "How many steps, and the interval that bootstrap over the sequences leaves. Of time scales: the median unit, "
        "and the range of the middle 80 % of the units."
    )
    found = [Section("In numbers", [*report.sentences[1:], ReportTable(caption, COLUMNS, report.rows())])]
    if pictures := _pictures(report):
        found.append(Section("In pictures", pictures))
    if report.example is not None:
        found.append(_example_section(report.example))
    found.append(Section("What the numbers mean", [Points(_definitions(report))]))
    return found


def _pictures(report: MemoryReport) -> list[str | ReportTable | Picture]:
    found: list[str | ReportTable | Picture] = []
    if report.horizon.measures:
        caption = (
            "What is left of each measure k steps back, as a share of its full size; bands are 95 % intervals. Where a "
            "curve falls under its threshold (dashed across; recall has its own) a dotted line marks the steps."
            + (" The dashed curve: the gradient before training." if report.before else "")
        )
        figure = horizon_figure(report.horizon, report.before)
        found.append(Picture(to_svg(figure, "horizon", caption), caption))
    if report.need is not None and not report.need.nothing_to_gain:
        caption = (
            "Loss over the steps of context that are shown: the model, and the best of the simple probes that were "
            "fitted to the data to find out how far back it needs. Where a curve is flat, more context gains nothing; "
            "the dashed line marks where that begins."
        )
        figure = need_figure(report.need, report.horizon.use)
        found.append(Picture(to_svg(figure, "need", caption), caption))
    if report.scales is not None and report.scales.lasting:
        what = (
            f"Units by their time scale: after so many steps their {report.scales.gate} has left 37 % of what they held"
            if report.scales.gate
            else "Directions of the state by their time scale: after so many steps 37 % is left of what they held"
        )
        line = "" if report.scales_before is None else " The line: before training."
        caption = f"{what}.{line}"
        figure = time_scale_figure(report.scales, report.scales_before)
        found.append(Picture(to_svg(figure, "time-scales", caption), caption))
    return found


def _example_section(example: Example) -> Section:
    steps = len(example.words)
    first = f"One of the sequences, {steps:,} {example.unit}s long, as the layer read it. " + (
        "What was written into its state, how long it was kept, and what erased it:"
        if example.events
        else "No single write stood out of the usual ones and was kept."
    )
    caption = (
        f"Left to right the {example.unit}s, top to bottom the units, the slowest to forget first. Above: how much "
        f"each {example.unit} wrote to each unit, in units of its typical state. Below: the share of what it held "
        "that it kept."
    )
    figure = memory_event_figure(
        example.trace, example.words, example.events, row=example.row, part=example.part, unit=example.unit
    )
    picture = Picture(to_svg(figure, "example", caption), caption, wide=True)
    points = [Points(tuple(str(event) for event in example.events))] if example.events else []
    return Section("Inside, on an example of the data", [first, *points, picture])


def _definitions(report: MemoryReport) -> tuple[str, ...]:
    found = [
        f"{name.capitalize()}: {measure.definition}." for name, measure in report.horizon.measures.items()
    ]
    if (need := report.need) is not None:
        found.append(
            "Need of the data: the smallest context beyond which at most "
            f"{need.tolerance * 100:g} % of the gain is left that simple probes achieve with up to "
            f"{int(need.lags[-1]):,} steps; a lower bound. Fitted on {need.sequences[0]:,} sequences, scored on "
            f"{need.sequences[1]:,} others."
        )
    if report.scales is not None and report.scales.gate:
        found.append(
            f"Time scale: after how many steps a unit has 37 % left of what it held, by the product of its "
            f"{report.scales.gate} over {report.scales.steps:,} steps of the data, if nothing new is written."
        )
    elif report.scales is not None and report.scales.reason:
        found.append(report.scales.reason)
    if report.example is not None:
        found.append(
            "Written: the write is as large as what the unit typically holds, or unlike the layer's usual writes; "
            "kept: while the product of the gates is at least one half."
        )
    return tuple(found)
