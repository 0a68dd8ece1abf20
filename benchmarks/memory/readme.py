"""README's tables of memory and its picture, from the newest rows of results: `python -m benchmarks.memory readme`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks.memory.opening import opening
from benchmarks.memory.remember import CLAIMED
from benchmarks.memory.stories import CELLS, CLAIMS, Claim, newest
from benchmarks.readme import README, between_marks
from benchmarks.record import ROOT
from storyline.memory.report.figures import to_png
from storyline.stories.learning import Learning, learning_rate_of
from storyline.stories.picture import Curve, curves, recall_picture
from storyline.stories.results_file import read_rows

PICTURES = ROOT / "docs" / "pictures"
RESULTS = Path(__file__).parent / "results"
Row = dict[str, str]
# What a cell of the stories' table is called.
COLUMNS = {
    "lstm": "LSTM, coupled gates",
    "slstm": "sLSTM",
    "gru": "GRU",
    "rnn": "RNN",
    "transformer": "Transformer",
}
# Seconds that the quick set may take.
QUICK = 1800
# What is aimed at beyond the claims, of all seeds.
AIMS = (
    Claim("party", 50_000, must=1.0),
    Claim("router", 10_000, must=1.0),
    *(Claim(story, 900, must=0.99) for story in ("john-he", "breakfast", "but-then")),
    *(Claim(story, 16, must=0.99) for story in ("chase", "books")),
    Claim("parity", 100_000, must=1.0),
)


def add_to(commands: Any) -> None:
    parser = commands.add_parser("readme", description=__doc__, help="write README's tables of memory")
    parser.set_defaults(run=run)


def run(_: argparse.Namespace) -> int:
    told = _of_one_budget(rows_of("stories", "story", "cell", "seed", "distance"))
    to_png(recall_picture(told, "party"), str(PICTURES / "party.png"))
    README.write_text(with_blocks(README.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


def with_blocks(text: str) -> str:
    """README with its blocks of memory as the results have them."""
    blocks = {"horizon": opening(), "memory": claims(), "stories": stories(), "agreement": agreement()}
    return between_marks(text, blocks)


def rows_of(name: str, *keys: str) -> list[Row]:
    """The rows of a file, of each value of the keys the newest."""
    return newest(read_rows(RESULTS / f"{name}.csv"), *keys)


def claims() -> str:
    """What must hold, and what was measured."""
    lines = ["| claim | must | measured | aim |", "|---|---|---|---|"]
    lines += [
        _line(*each)
        for each in (*_instruments(), *_overhead(), *_remember(), *_told(), *_quick(), *_diagnosed())
    ]
    return "\n".join(lines)


def _line(claim: str, must: str, measured: str, aim: str) -> str:
    return f"| {claim} | {must} | {measured} | {aim} |"


def _instruments() -> Iterable[tuple[str, str, str, str]]:
    names = {
        "closed form": "horizon of recurrences known in closed form, worst case and seed",
        "ablation": "the same, of an LSTM trained to recall a marked bit, against ablation",
        "black box": "a callable alone against the module",
    }
    rows = rows_of("instruments", "claim", "case", "measure")
    for claim, said in names.items():
        own = [row for row in rows if row["claim"] == claim]
        worst = {
            measure: max(float(row["worst_error_percent"]) for row in own if row["measure"] == measure)
            for measure in dict.fromkeys(row["measure"] for row in own)
        }
        found = ", ".join(f"{measure} {error:.2g} %" for measure, error in worst.items())
        if own:
            aim = float(own[0]["aim_percent"])
            yield said, f"{float(own[0]['must_percent']):g} %", found, f"{aim:g} %" if aim else ""


def _overhead() -> Iterable[tuple[str, str, str, str]]:
    rows = rows_of("overhead", "case")
    ratios = [float(row["ratio"]) for row in rows]
    if ratios:
        found = f"{min(ratios):.1f}x to {max(ratios):.1f}x, {len(rows)} shapes"
        yield "cost of `horizon` in evaluations of the same data", "20x", found, "5x"


def _remember() -> Iterable[tuple[str, str, str, str]]:
    rows = rows_of("remember", "story", "cell", "seed", "distance")
    learns = "learns; does not, 5 seeds of 5"
    for story, distance in dict.fromkeys((row["story"], row["distance"]) for row in rows):
        own = [row for row in rows if (row["story"], row["distance"]) == (story, distance)]
        owed = int(distance) == CLAIMED[story][0]

        def shares(cell: str, own: list[Row] = own) -> str:
            return " ".join(f"{float(row['accuracy']):.0%}" for row in own if row["cell"] == cell)

        said = f"{story} at T = {int(distance):,}: `LSTM(64, remember=T)`; `torch.nn.LSTM(64)`"
        found = f"{shares('lstm_plain')}; {shares('torch_lstm')} (chance {float(own[0]['chance']):.0%})"
        yield said, learns * owed, found, learns * (not owed)


def _told() -> Iterable[tuple[str, str, str, str]]:
    rows = rows_of("stories", "story", "cell", "seed", "distance")
    aims = {aim.story: aim for aim in AIMS}
    for claim in CLAIMS:
        if at := _asked(rows, claim):
            must = f"{claim.must:.0%}, {claim.seeds:.0%} of the seeds"
            shares = " ".join(f"{float(row['accuracy']):.0%}" for row in at)
            learned = at[0]["trained_distance"]
            said = f"*{claim.story}*, learned up to {int(learned):,}, asked at {claim.distance:,}"
            aimed = _aimed(rows, aims[claim.story]) if claim.story in aims else ""
            yield said, must, f"{shares}{_short(claim, at)}", aimed


def _asked(rows: list[Row], claim: Claim) -> list[Row]:
    """The LSTM's rows of a story at the distance of a claim, a seed each."""
    about = (claim.story, "lstm", claim.distance)
    return [
        row for row in rows if (row["story"], row["cell"], int(row["distance"])) == about and row["accuracy"]
    ]


def _aimed(rows: list[Row], aim: Claim) -> str:
    """What is aimed at, and how many seeds are there."""
    at = _asked(rows, aim)
    holds = sum(float(row["accuracy"]) >= aim.must for row in at)
    return f"{aim.must:.0%} at {aim.distance:,}: {holds} of {len(at)} seeds"


def _quick() -> Iterable[tuple[str, str, str, str]]:
    for row in rows_of("quick", "jobs"):
        said = f"these claims again, `stories --quick`, {row['jobs']} trainings side by side"
        found = f"{float(row['seconds']) / 60:.1f} minutes, {row['trainings']} trainings; {row['holds']} of "
        short = int(row["seconds"]) > QUICK or row["holds"] != row["claims"]
        yield said, "30 minutes, all hold", f"{found}{row['claims']} hold{', falls short' * short}", ""


def _short(claim: Claim, rows: list[Row]) -> str:
    holds = sum(float(row["accuracy"]) >= claim.must for row in rows)
    return "" if holds >= claim.seeds * len(rows) else ", falls short"


def _diagnosed() -> Iterable[tuple[str, str, str, str]]:
    rows = rows_of("diagnose", "kind", "case", "seed")
    planted = [row for row in rows if row["kind"] == "planted"]
    clean = [row for row in rows if row["kind"] == "sound"]
    if planted and clean:
        found = sum(row["found"] == "True" for row in planted)
        alarms = sum(bool(row["findings"]) for row in clean)
        mended = [row["mended"] == "True" for row in planted if row["mended"]]
        said = f"{found} of {len(planted)} found, {alarms} false alarms in {len(clean)}"
        said += f"; {sum(mended)} of {len(mended)} mended by the remedy"
        yield (
            "`diagnose` on 12 planted faults and 12 clean models, each of several seeds",
            "all, no alarm",
            said,
            "",
        )


def stories() -> str:
    """A row a story: the longest distance that four of five seeds of each cell recall at 95 %."""
    rows = _of_one_budget(rows_of("stories", "story", "cell", "seed", "distance"))
    lines = [
        f"| story | seconds | learned up to | asked up to | {' | '.join(COLUMNS.values())} | bag of words |",
        "|---|---|---|---|" + "---|" * (len(COLUMNS) + 1),
    ]
    for story in dict.fromkeys(row["story"] for row in rows):
        own = {curve.cell: curve for curve in curves(rows, story)}
        if not set(own) & set(CELLS):
            continue
        trained = next(row["trained_distance"] for row in rows if row["story"] == story)
        asked = max(curve.distances[-1] for curve in own.values())
        told = " | ".join(_of(own, cell, _recalled) for cell in COLUMNS)
        bag = _of(own, "bag", lambda curve: f"{curve.mean[0]:.0%} at {curve.distances[0]}")
        budget = next(
            float(row["budget_seconds"]) for row in rows if (row["story"], row["cell"]) == (story, "lstm")
        )
        lines.append(f"| {story} | {budget:g} | {int(trained):,} | {asked:,} | {told} | {bag} |")
    return "\n".join(lines)


def _of_one_budget(rows: list[Row]) -> list[Row]:
    """Those cells of a story that had as many seconds as its LSTM, in its newest rows, and learned at today's rate.

    A bag of words has neither.
    """
    budgets = {row["story"]: row["budget_seconds"] for row in rows if row["cell"] == "lstm"}
    return [
        row
        for row in rows
        if row["cell"] == "bag"
        or (
            row["budget_seconds"] == budgets[row["story"]]
            and float(row["learning_rate"]) == learning_rate_of(Learning(), row["cell"])
        )
    ]


def _of(own: dict[str, Curve], cell: str, say: Callable[[Curve], str]) -> str:
    return say(own[cell]) if cell in own else ""


def _recalled(curve: Curve) -> str:
    count = len(curve.longest)
    many = "" if count == 5 else f" ({count} seed{'s' * (count > 1)})"
    return (
        f"**{curve.headline:,}**" if curve.headline else f"none; {curve.mean[0]:.0%} at {curve.distances[0]}"
    ) + many


def agreement() -> str:
    """A row a judge: percent of the pairs that it decides as people do."""
    rows = rows_of("agreement", "set", "group", "judge", "seed")
    sets = list(dict.fromkeys(row["set"] for row in rows if row["group"] == "all"))
    wanted = [(each, "all") for each in sets]
    at = sets.index("Linzen") + 1
    wanted[at:at] = [("Linzen", f"{many} attractors") for many in ("0", "2")]
    heads = [name if group == "all" else f"{name}, {group}" for name, group in wanted]
    lines = [f"| judge | perplexity | {' | '.join(heads)} |", "|---|---|" + "---|" * len(heads)]
    for judge in dict.fromkeys(row["judge"] for row in rows):
        own = {(row["set"], row["group"]): row for row in rows if row["judge"] == judge}
        perplexity = next(iter(own.values()))["perplexity"]
        shares = [own[each]["accuracy_percent"] if each in own else "" for each in wanted]
        lines.append(f"| {judge} | {perplexity} | {' | '.join(shares)} |")
    return "\n".join(lines)
