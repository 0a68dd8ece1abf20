"""The table of capabilities: it says yes to what is right, no to what fails or is wrong, and why."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from storyline.capabilities import ROWS, Subject, try_capabilities
from storyline.cli.app import app
from storyline.kernels import BACKENDS, native

# What serves under torch.func.
SERVES = "cpu" if native.missing is None else "reference"
# torch.compile and torch.export take seconds for each layer; they are tried where the layers are tested.
QUICK = [
    row
    for row in ROWS
    if "torch.compile" not in row and "torch.export" not in row and row != "the same, ragged"
]
OURS_ALONE = [
    "ragged batch, lengths=, no packing",
    "resets inside a sequence",
    "learned initial state",
    "vmap",
]
BOTH = ["dense batch", "stream of single steps", "one sequence, unbatched", "float64", "pickle", "deepcopy"]


@pytest.fixture(scope="module")
def tables() -> dict[str, Any]:
    return {table.kind: table for table in try_capabilities(rows=QUICK)}


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_what_everyone_can_and_what_only_we_can(tables: dict[str, Any], kind: str) -> None:
    table = tables[kind]
    assert table.columns == (f"torch.nn.{kind}", "auto", *BACKENDS)
    for row in QUICK:
        assert set(table.results[row]) == set(table.columns)
    for row in BOTH:
        assert all(result.can for result in table.results[row].values()), table.results[row]
    for row in OURS_ALONE:
        theirs, auto = table.results[row][f"torch.nn.{kind}"], table.results[row]["auto"]
        assert not theirs.can
        assert theirs.why_not
        assert auto.can, auto
    vmap = table.results["vmap"]
    assert vmap["auto"].backend == SERVES
    assert "backend='torch' cannot serve this call: torch.func.vmap" in vmap["torch"].why_not


def test_every_no_has_its_reason_below_the_table(tables: dict[str, Any]) -> None:
    lines = str(tables["GRU"]).splitlines()
    assert lines[0].split() == ["torch.nn.GRU", "auto", *BACKENDS]
    vmap = next(line for line in lines if line.startswith("vmap "))
    number = vmap.split("no [")[1].split("]")[0]
    reason = next(line for line in lines if line.startswith(f"[{number}] "))
    assert "Batching rule not implemented for aten::gru" in reason


def test_wrong_numbers_are_a_no(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = nn.GRU.forward
    monkeypatch.setattr(nn.GRU, "forward", lambda *a: (honest(*a)[0] + 1e-5, honest(*a)[1]))
    (table,) = try_capabilities(["GRU"], ["dense batch"])
    assert not table.results["dense batch"]["torch.nn.GRU"].can
    assert "wrong numbers: off by" in table.results["dense batch"]["torch.nn.GRU"].why_not
    assert table.results["dense batch"]["auto"].can


def test_a_missing_compiler_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any, **__: Any) -> None:
        raise RuntimeError("No working C++ compiler found")

    monkeypatch.setattr(torch, "compile", missing)
    (table,) = try_capabilities(["RNN"], ["torch.compile(fullgraph=True)"])
    for result in table.results["torch.compile(fullgraph=True)"].values():
        assert result.why_not == "RuntimeError: No working C++ compiler found"


def test_the_random_stream_is_left_where_it_was() -> None:
    before = torch.get_rng_state()
    Subject("LSTM", "auto").layer()
    assert torch.equal(before, torch.get_rng_state())


def test_unknown_names() -> None:
    with pytest.raises(ValueError, match="'SRU' is not known; it must be one of RNN, LSTM, GRU"):
        try_capabilities(["SRU"])
    with pytest.raises(ValueError, match="'speed' is not known; it must be one of dense batch"):
        try_capabilities(rows=["speed"])


def test_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = {"dense batch": ROWS["dense batch"], "vmap": ROWS["vmap"]}
    monkeypatch.setattr("storyline.capabilities.table.ROWS", quick)
    said = CliRunner().invoke(app, ["capabilities", "--layer", "gru", "--json"])
    assert said.exit_code == 0, said.output
    found = json.loads(said.stdout)
    assert found["versions"]["torch"] == torch.__version__
    (table,) = found["tables"]
    assert table["kind"] == "GRU"
    assert table["results"]["vmap"]["torch.nn.GRU"]["can"] is False
    assert table["results"]["vmap"]["auto"] == {"can": True, "why_not": None, "backend": SERVES}
    text = CliRunner().invoke(app, ["capabilities", "--layer", "gru"]).stdout
    assert f"yes, {SERVES}" in text
    assert "[1] RuntimeError: Batching rule not implemented" in text
