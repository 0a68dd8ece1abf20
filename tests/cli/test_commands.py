"""Each command, from a file to an answer, through the command line that users type."""

from __future__ import annotations

import json
import re
from pathlib import Path

import polars as pl
import pytest
from command_line import QUICK, Command

TEXT = ("--text", "question", "--label", "kind")


@pytest.fixture
def classifier(storyline: Command, questions: Path, tmp_path: Path) -> Path:
    out = tmp_path / "model"
    result = storyline("train", "classify", questions, *TEXT, "--out", out, *QUICK)
    assert result.exit_code == 0, result.output
    return out


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_predict_keeps_the_columns_and_adds_its_answers(
    storyline: Command, classifier: Path, questions: Path, tmp_path: Path, suffix: str
) -> None:
    out = tmp_path / f"predictions{suffix}"
    result = storyline("predict", classifier, questions, "--out", out)
    assert result.exit_code == 0, result.output
    read = {".csv": pl.read_csv, ".parquet": pl.read_parquet, ".jsonl": pl.read_ndjson}[suffix]
    frame = read(out)
    assert frame.columns == ["question", "kind", "prediction", "probability"]
    assert len(frame) == 60
    assert set(frame["prediction"]) <= {"person", "place"}
    assert frame["probability"].is_between(0.5, 1.0).all()


def test_evaluate_agrees_with_predict(
    storyline: Command, classifier: Path, questions: Path, tmp_path: Path
) -> None:
    metrics = json.loads(storyline("evaluate", classifier, questions, "--json").stdout)
    out = tmp_path / "predictions.csv"
    storyline("predict", classifier, questions, "--out", out)
    frame = pl.read_csv(out)
    assert metrics["accuracy"] == pytest.approx((frame["prediction"] == frame["kind"]).mean(), abs=1e-12)


def test_predict_counts_unknown_words(storyline: Command, classifier: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.csv"
    new.write_text("question\nwho zyzzyva river\n", encoding="utf-8")
    result = storyline("predict", classifier, new)
    assert result.exit_code == 0, result.output
    assert "1 of 3 words" in result.output
    assert "<unk>" in result.output


def test_memory_writes_a_page(storyline: Command, classifier: Path, questions: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    result = storyline("memory", classifier, questions, "--out", out)
    assert result.exit_code == 0, result.output
    page = out.read_text(encoding="utf-8")
    assert "gradient reaches" in result.output
    assert "Measured on 60 sequences" in result.output
    assert "no probe predicts the targets better than a constant does" in result.output
    # the curves, the time scales, and a sequence of the file's own in its own words
    assert page.count("<svg") == 3
    assert re.search(r"wrote &#x27;wh\w+&#x27; at word 1, kept it", page)
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_memory_of_pairs_has_two_sides(
    storyline: Command, classifier: Path, questions: Path, tmp_path: Path
) -> None:
    table, model = tmp_path / "pairs.csv", tmp_path / "pairs"
    rows = [f"{i % 7} {i % 5} {i % 3},{i % 3} {i % 5} {i % 7}" for i in range(90)]
    table.write_text("source,target\n" + "\n".join(rows) + "\n", encoding="utf-8")
    small = ("--level", "word", "--hidden-size", 8, "--epochs", 1, "--threads", 1)
    assert storyline("train", "translate", table, "--out", model, *small).exit_code == 0
    for side, said in (
        ("source", "Of the source, from its end"),
        ("target", "Of the target so far, back from"),
    ):
        result = storyline("memory", model, table, "--side", side, "--out", tmp_path / "report.html")
        assert result.exit_code == 0, result.output
        assert said in result.output
        assert "A step is one word." in result.output
        assert f"--side {side}; seed 0" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "reads no pairs of texts" in storyline("memory", classifier, questions, "--side", "source").output


def test_memory_makes_the_folder_and_counts_unknown_words(
    storyline: Command, classifier: Path, tmp_path: Path
) -> None:
    new = tmp_path / "new.csv"
    lines = [
        f"{first} {rest}" for first in ("who", "where") for rest in ("river", "city king", "war", "zyzzyva")
    ]
    kinds = ["person"] * 4 + ["place"] * 4
    rows = [f"{line},{kind}" for line, kind in zip(lines, kinds, strict=True)]
    new.write_text("\n".join(["question,kind", *rows]) + "\n", encoding="utf-8")
    result = storyline("memory", classifier, new, "--out", tmp_path / "new" / "report.html")
    assert result.exit_code == 0, result.output
    assert "2 of 18 words (11.1 %) are unknown to the model and were read as <unk>" in result.output
    assert "Not measured: need of the data (sequences are 8; at least 16 are needed" in result.output
    assert (tmp_path / "new" / "report.html").is_file()


def test_memory_of_data_without_answers_measures_what_needs_none(
    storyline: Command, classifier: Path, questions: Path, tmp_path: Path
) -> None:
    new = tmp_path / "new.csv"
    lines = questions.read_text(encoding="utf-8").splitlines()
    new.write_text("\n".join(line.split(",")[0] for line in lines) + "\n", encoding="utf-8")
    result = storyline("memory", classifier, new)
    assert result.exit_code == 0, result.output
    assert "remembers (counterfactual)" in result.output
    assert "Not measured: use (no targets were given" in result.output
    # nothing but what needs the answers, and nothing that the model folder knows
    unsought = (
        "vanishing (no targets were given, and inputs are no tokens; give targets= or need=); state drifts ("
    )
    assert f"Not looked for: {unsought}" in result.output
    assert storyline("memory", classifier, new, "--trained-steps", 4).output.count("state drifts (") == 0


def test_memory_of_too_little_is_one_sentence_and_no_file(
    storyline: Command, classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "new" / "report.html"
    new = tmp_path / "new.csv"
    new.write_text("question,kind\nwho,person\n", encoding="utf-8")
    result = storyline("memory", classifier, new, "--out", out)
    assert result.exit_code == 2
    assert f"error: {new}: inputs hold 1 sequences; at least 8 are needed" in result.output
    new.write_bytes(b"question,kind\n\xff\xfe\x00")
    result = storyline("memory", classifier, new, "--out", out)
    assert result.exit_code == 2
    assert result.output.startswith("error: ")
    assert not out.parent.exists()

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("storyline.memory.measure", interrupt)
    new.write_text("question,kind\nwho,person\n", encoding="utf-8")
    result = storyline("memory", classifier, new, "--out", out)
    assert result.exit_code == 130
    assert "error: interrupted" in result.output
    assert not out.parent.exists()


def test_nested_columns_are_kept_beside_the_answers(
    storyline: Command, classifier: Path, tmp_path: Path
) -> None:
    new = tmp_path / "new.jsonl"
    new.write_text('{"question": "who", "more": {"n": [1]}}\n{"question": "where", "more": 2}\n')
    for suffix in (".csv", ".parquet", ".jsonl"):
        result = storyline("predict", classifier, new, "--out", tmp_path / f"answers{suffix}")
        assert result.exit_code == 0, result.output
    assert pl.read_csv(tmp_path / "answers.csv")["more"].to_list() == ['{"n": [1]}', "2"]
    lines = (tmp_path / "answers.jsonl").read_text().splitlines()
    assert [json.loads(line)["more"] for line in lines] == [{"n": [1]}, 2]


def test_series_from_a_long_frame(storyline: Command, readings: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    columns = ("--series", "sensor", "--order", "second", "--channels", "a,b", "--label", "kind")
    result = storyline("train", "classify", readings, *columns, "--out", out, *QUICK)
    assert result.exit_code == 0, result.output
    answers = tmp_path / "answers.csv"
    result = storyline("predict", out, readings, "--out", answers)
    assert result.exit_code == 0, result.output
    assert pl.read_csv(answers)["sequence"].to_list() == [f"s{number}" for number in range(20)]
    metrics = json.loads(storyline("evaluate", out, readings, "--json").stdout)
    assert set(metrics) == {"accuracy", "macro_f1", "loss", "n"}


def test_a_constant_channel_is_said(storyline: Command, readings: Path, tmp_path: Path) -> None:
    lines = readings.read_text(encoding="utf-8").splitlines()
    rows = [lines[0] + ",flat", *(line + ",2.5" for line in lines[1:])]
    readings.write_text("\n".join(rows) + "\n", encoding="utf-8")
    columns = ("--series", "sensor", "--order", "second", "--label", "kind")
    result = storyline("train", "classify", readings, *columns, "--out", tmp_path / "model", *QUICK)
    assert result.exit_code == 0, result.output
    assert "note: the channel 'flat' is 2.5 at every step of the training part" in result.output
    assert "channel 'a'" not in result.output


def test_a_separator(storyline: Command, questions: Path, tmp_path: Path) -> None:
    commas = questions.read_text(encoding="utf-8")
    (tmp_path / "bars.csv").write_text(commas.replace(",", "|"), encoding="utf-8")
    (tmp_path / "tabs.tsv").write_text(commas.replace(",", "\t"), encoding="utf-8")
    (tmp_path / "tabs.csv").write_text(commas.replace(",", "\t"), encoding="utf-8")
    out = tmp_path / "model"
    result = storyline("train", "classify", tmp_path / "bars.csv", *TEXT, "--out", out, *QUICK)
    assert "give the separator '|'" in result.output
    result = storyline(
        "train", "classify", tmp_path / "bars.csv", *TEXT, "--separator", "|", "--out", out, *QUICK
    )
    assert result.exit_code == 0, result.output
    found = [
        storyline("evaluate", out, tmp_path / name, "--json", *more)
        for name, more in {
            "bars.csv": (),
            "tabs.tsv": (),
            "questions.csv": ("--separator", ","),
            "tabs.csv": ("--separator", "\\t"),
        }.items()
    ]
    assert [result.exit_code for result in found] == [0, 0, 0, 0]
    assert len({result.stdout for result in found}) == 1


def test_unlabelled_plain_text(storyline: Command, questions: Path, tmp_path: Path) -> None:
    (tmp_path / "un.txt").write_text("who sails the zyzzyva river\n" * 30, encoding="utf-8")
    more = ("--unlabelled", tmp_path / "un.txt", "--set", "max_vocabulary=100")
    result = storyline("train", "classify", questions, *TEXT, *more, "--out", tmp_path / "model", *QUICK)
    assert result.exit_code == 0, result.output
    (tmp_path / "new.csv").write_text("question\nzyzzyva\n", encoding="utf-8")
    assert "unknown" not in storyline("predict", tmp_path / "model", tmp_path / "new.csv").output


def test_a_transformer_language_model_differs_by_one_word(
    storyline: Command, tale: Path, tmp_path: Path
) -> None:
    out = tmp_path / "model"
    result = storyline("train", "language", tale, "--core", "transformer", "--out", out, *QUICK)
    assert result.exit_code == 0, result.output
    written = storyline("generate", out, "--prompt", "the cat", "--length", "20", "--seed", "1")
    assert len(written.stdout.rstrip("\n")) == len("the cat") + 20


def test_language_model_from_a_text(storyline: Command, tale: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    result = storyline("train", "language", tale, "--level", "char", "--out", out, *QUICK)
    assert result.exit_code == 0, result.output
    written = storyline("generate", out, "--prompt", "the cat", "--length", "20", "--seed", "1")
    assert written.stdout.startswith("the cat")
    assert len(written.stdout.rstrip("\n")) == len("the cat") + 20
    assert (
        written.stdout
        == storyline("generate", out, "--prompt", "the cat", "--length", "20", "--seed", "1").stdout
    )
    unknown = storyline("generate", out, "--prompt", "the cätz", "--length", "2")
    assert "2 of 8 characters (25.0 %) are unknown" in unknown.stderr
    assert "1 of 1 characters" in storyline("generate", out, "--prompt", "ä", "--suggest", "1").stderr
    suggestions = storyline("generate", out, "--prompt", "the ca", "--suggest", "3").stdout.splitlines()
    assert len(suggestions) == 3
    assert storyline("evaluate", out, tale).exit_code == 0
    # A table is read by its column of text, never as the letters of its commas.
    (tmp_path / "tale.csv").write_text("place,story\n1,the cat sat on the mat\n", encoding="utf-8")
    refused = storyline("evaluate", out, tmp_path / "tale.csv")
    assert refused.exit_code == 2
    assert "name the column of its text with --text: it has 'place', 'story'" in refused.output
    read = storyline("evaluate", out, tmp_path / "tale.csv", "--text", "story", "--json")
    assert json.loads(read.stdout)["n"] == len("the cat sat on the mat") - 1
    assert storyline("memory", out, tale).exit_code == 0


def test_tagger_from_lists(storyline: Command, sentences: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    result = storyline("train", "tag", sentences, "--out", out, *QUICK)
    assert result.exit_code == 0, result.output
    tagged = tmp_path / "tagged.jsonl"
    assert storyline("predict", out, sentences, "--out", tagged).exit_code == 0
    lines = [json.loads(line) for line in tagged.read_text(encoding="utf-8").splitlines()]
    assert all(len(line["predicted_tags"]) == len(line["tokens"]) for line in lines)


def test_settings_from_a_file_and_the_command_line_wins(
    storyline: Command, questions: Path, tmp_path: Path
) -> None:
    config = tmp_path / "settings.toml"
    config.write_text(
        'text = "question"\nlabel = "kind"\nhidden_size = 8\nepochs = 1\nseed = 5\n', encoding="utf-8"
    )
    out = tmp_path / "model"
    result = storyline("train", "classify", questions, "--config", config, "--out", out, "--seed", "7")
    assert result.exit_code == 0, result.output
    settings = json.loads((out / "config.json").read_text(encoding="utf-8"))["settings"]
    assert (settings["hidden_size"], settings["seed"]) == (8, 7)


def test_same_command_same_weights(storyline: Command, questions: Path, tmp_path: Path) -> None:
    weights = []
    for name in ("one", "two"):
        storyline("train", "classify", questions, *TEXT, "--out", tmp_path / name, *QUICK)
        weights.append((tmp_path / name / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]
