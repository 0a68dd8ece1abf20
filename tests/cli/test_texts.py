"""Models that write texts, through the command line that users type; bad input is refused or counted, never lost."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
import sacrebleu
from command_line import Command
from rouge_score import rouge_scorer

SMALL = ("--hidden-size", "8", "--num-layers", "1", "--epochs", "2", "--threads", "1")
WORDS = {"eins": "one", "zwei": "two", "drei": "three", "vier": "four", "fünf": "five", "sechs": "six"}


def numbers(count: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Numbers spelled in German, and in English."""
    generator = random.Random(seed)
    rows = [generator.choices(list(WORDS), k=generator.randint(1, 5)) for _ in range(count)]
    return [" ".join(row) for row in rows], [" ".join(map(WORDS.__getitem__, row)) for row in rows]


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """A CSV of 60 pairs, two of them with an empty side."""
    sources, targets = numbers(60)
    sources[7], targets[11] = "", "  "
    path = tmp_path / "pairs.csv"
    pl.DataFrame({"id": range(60), "de": sources, "en": targets}).write_csv(path)
    return path


@pytest.fixture
def aligned(tmp_path: Path) -> tuple[Path, Path]:
    """The same as two plain files."""
    files = tmp_path / "train.de", tmp_path / "train.en"
    for file, lines in zip(files, numbers(60), strict=True):
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return files


@pytest.fixture
def translator(storyline: Command, pairs: Path, tmp_path: Path) -> Path:
    out = tmp_path / "model"
    columns = ("--source", "de", "--target", "en", "--level", "char")
    result = storyline("train", "translate", pairs, *columns, "--out", out, *SMALL)
    assert result.exit_code == 0, result.output
    assert "note: 2 of 60 pairs have an empty side, and were left out of the training" in result.output
    assert f"storyline predict {out} new.csv --out translations.csv" in result.output.replace("\n", "")
    return out


def test_a_table_of_pairs(storyline: Command, translator: Path, pairs: Path, tmp_path: Path) -> None:
    out = tmp_path / "translations.csv"
    result = storyline("predict", translator, pairs, "--beam", "3", "--out", out)
    assert result.exit_code == 0, result.output
    assert "note: 1 text is empty, and so is what is written for them" in result.output
    assert "60 predictions in" in result.output
    frame = pl.read_csv(out).with_columns(pl.col("de", "en", "prediction").fill_null(""))
    assert frame.columns == ["id", "de", "en", "prediction"]
    assert frame["id"].to_list() == list(range(60))
    assert frame["prediction"][7] == ""
    metrics = json.loads(storyline("evaluate", translator, pairs, "--beam", "3", "--json").stdout)
    full = frame.filter((pl.col("de") != "") & (pl.col("en").str.strip_chars() != ""))
    scored = sacrebleu.corpus_bleu(full["prediction"].to_list(), [full["en"].to_list()])
    assert metrics["bleu"] == pytest.approx(scored.score, abs=1e-9)
    assert metrics["bleu_signature"].startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    assert metrics["chrf_signature"].startswith("nrefs:1|case:mixed|eff:yes|nc:6|nw:0")
    assert (metrics["n"], metrics["dropped"]) == (58, 2)
    greedy = json.loads(storyline("evaluate", translator, pairs, "--beam", "1", "--json").stdout)
    assert greedy["nats"] == metrics["nats"]


def test_lines_in_and_lines_out(storyline: Command, aligned: tuple[Path, Path], tmp_path: Path) -> None:
    out, held_out = tmp_path / "model", ("--validation", aligned[0], "--validation-target", aligned[1])
    result = storyline("train", "translate", *aligned, *held_out, "--level", "word", "--out", out, *SMALL)
    assert result.exit_code == 0, result.output
    # What is suggested next has both files, too.
    assert f"storyline memory {out} {aligned[0]} {aligned[1]} --out report.html" in result.output
    folder = storyline("train", "translate", aligned[0], tmp_path, "--out", tmp_path / "other", *SMALL)
    assert f"{tmp_path} is a folder; give one of the files in it" in folder.output
    new = tmp_path / "new.txt"
    # Empty ones in the middle and at the end, a long one, one in other scripts; a blank table column is no header.
    lines = ["eins zwei", "", " ".join(["drei"] * 40), "один 二 ثلاثة", "vier", "", ""]
    new.write_text("\n".join(lines) + "\n", encoding="utf-8")
    result = storyline("predict", out, new, "--out", tmp_path / "hypotheses.txt")
    assert result.exit_code == 0, result.output
    written = (tmp_path / "hypotheses.txt").read_text(encoding="utf-8").split("\n")
    assert len(written) == len(lines) + 1
    assert [place for place, line in enumerate(written) if not line] >= [1, 5, 6, 7]
    assert result.output.count("note: 3 texts are empty, and so is what is written for them") == 1
    assert (
        result.output.count("note: 1 text is longer than any in training, and read whole all the same") == 1
    )
    # Three of 46 words, and the ends of seven texts.
    assert "3 of 53 words (5.7 %) are unknown to the model and were read as <unk>" in result.output
    shown = storyline("predict", out, new)
    assert shown.stdout == "\n".join(written)
    table = storyline("predict", out, new, "--out", tmp_path / "hypotheses.jsonl")
    assert table.exit_code == 0, table.output
    rows = [json.loads(line) for line in (tmp_path / "hypotheses.jsonl").read_text().splitlines()]
    assert [row["text"] for row in rows] == lines
    assert [row["prediction"] for row in rows] == written[:-1]
    measured = json.loads(storyline("evaluate", out, *aligned, "--json").stdout)
    assert measured["n"] == 60
    one_side = storyline("evaluate", out, aligned[0])
    assert one_side.exit_code == 2
    assert "is no table, so it holds one side only" in one_side.output
    # A model of lines reads tables, too.
    (tmp_path / "new.csv").write_text("text\neins\n", encoding="utf-8")
    assert "has no column 'source'" in storyline("predict", out, tmp_path / "new.csv").output
    result = storyline("predict", out, tmp_path / "new.csv", "--source", "text")
    assert result.stdout.startswith("text,prediction\neins,")


def test_a_beam_wider_than_the_vocabulary(storyline: Command, translator: Path, tmp_path: Path) -> None:
    (tmp_path / "new.txt").write_text("eins\nzwei drei\n", encoding="utf-8")
    size = len(json.loads((translator / "encoder.json").read_text())["target"]["vocabulary"]["tokens"])
    for beam, said in (
        (size + 1, f"beam is {size + 1}, and the vocabulary has {size} tokens"),
        (0, "--beam is 0; it must be at least 1"),
    ):
        result = storyline("predict", translator, tmp_path / "new.txt", "--beam", str(beam))
        assert result.exit_code == 2
        assert said in result.output
        assert len(result.output.strip().splitlines()) == 1
    result = storyline("predict", translator, tmp_path / "new.txt", "--beam", str(size))
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) == 2


def test_files_that_do_not_match(storyline: Command, aligned: tuple[Path, Path], tmp_path: Path) -> None:
    lines = aligned[1].read_text(encoding="utf-8").splitlines()
    aligned[1].write_text("\n".join(lines[:-2]) + "\n", encoding="utf-8")
    for place in (
        (*aligned,),
        (aligned[0], aligned[0], "--validation", aligned[0], "--validation-target", aligned[1]),
    ):
        result = storyline("train", "translate", *place, "--out", tmp_path / "model", *SMALL)
        assert result.exit_code == 2
        assert (
            f"{aligned[0]} has 60 lines and {aligned[1]} 58: {aligned[1]} ends at line 58, where {aligned[0]} goes on "
            "to line 60"
        ) in result.output
        assert not (tmp_path / "model").exists()


def test_which_file_holds_the_targets(
    storyline: Command, aligned: tuple[Path, Path], pairs: Path, tmp_path: Path
) -> None:
    out = ("--out", tmp_path / "model", *SMALL)
    for arguments, said in (
        (
            (aligned[0],),
            "train.de is no table, so it holds one side only: name the file of its targets behind it",
        ),
        (
            (aligned[0], pairs),
            "pairs.csv is a table; give one table with --source and --target, or two plain files",
        ),
        ((*aligned, "--source", "de"), "--source names a column of a table, and"),
        (
            (pairs, "--validation-target", aligned[1]),
            "holds targets alone; name their sources with --validation",
        ),
        ((pairs, "--validation", aligned[0]), "name the file of its targets with --validation-target"),
        ((pairs, "--source", "dee"), "has no column 'dee' (did you mean 'de'?)"),
        ((*aligned, "--separator", ";"), "--separator is for .csv and .tsv"),
        ((*aligned, "--set", "atention=dot"), "did you mean 'attention'?"),
    ):
        result = storyline("train", "translate", *arguments, *out)
        assert result.exit_code == 2, result.output
        assert said in result.output
        assert len(result.output.strip().splitlines()) == 1
        assert not (tmp_path / "model").exists()


def test_options_that_a_model_has_no_use_for(
    storyline: Command, translator: Path, pairs: Path, questions: Path, tmp_path: Path
) -> None:
    result = storyline("predict", translator, pairs, "--context", "de")
    assert "is a model of pairs of texts and reads no --context; leave it out" in result.output
    out = tmp_path / "classifier"
    columns = ("--text", "question", "--label", "kind")
    assert storyline("train", "classify", questions, *columns, "--out", out, *SMALL).exit_code == 0
    for option, said in (
        (
            ("--beam", "3"),
            "--beam steers the search of a model that translates, summarises or writes answers",
        ),
        (
            ("--length-penalty", "1"),
            "--length-penalty steers the search of a model that translates or summarises",
        ),
        (("--out", tmp_path / "answers.txt"), "ends in .txt, which holds texts alone"),
    ):
        result = storyline("predict", out, questions, *option)
        assert result.exit_code == 2
        assert said in result.output
    result = storyline("evaluate", out, questions, questions)
    assert "a second file holds the targets of pairs; leave it out" in result.output


def test_without_sacrebleu_the_rest_is_measured(
    storyline: Command, translator: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics.bleu", None)
    result = storyline("evaluate", translator, pairs, "--json")
    assert result.exit_code == 0, result.output
    metrics = json.loads(result.stdout)
    assert "nats" in metrics
    assert "bleu" not in metrics
    assert "BLEU and chrF need sacrebleu, which is not installed; run pip install 'storyline[metrics]'" in (
        result.output
    )


def test_line_breaks_of_outputs_are_blanks_in_lines() -> None:
    from io import StringIO

    from rich.console import Console

    from storyline.cli.writing import one_a_line

    said = StringIO()
    assert one_a_line(["a\nb", "c", "d\r\n\ne"], Console(file=said)) == b"a b\nc\nd e\n"
    assert "note: 2 outputs have line breaks" in said.getvalue()


def test_killed_and_resumed_is_the_same_model(
    storyline: Command, aligned: tuple[Path, Path], tmp_path: Path
) -> None:
    long = ("--hidden-size", "8", "--num-layers", "1", "--epochs", "5", "--threads", "1", "--level", "word")
    settings = (*long, "--set", "checkpoint_every=2", "--set", "average_last=3", "--set", "patience=none")
    whole, out = tmp_path / "whole", tmp_path / "model"
    assert storyline("train", "translate", *aligned, "--out", whole, *settings).exit_code == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "storyline", "train", "translate", *aligned, "--out", out, *settings],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    checkpoints = out / "checkpoints"
    while process.poll() is None:
        steps = [int(path.name) for path in checkpoints.glob("*") if path.name.isdigit()]
        if max(steps, default=0) >= 4:
            break
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    _, said = process.communicate()
    assert process.returncode == -signal.SIGKILL, said.decode()
    assert not (out / "model.safetensors").exists()
    resumed = storyline("train", "--resume", out)
    assert resumed.exit_code == 0, resumed.output
    for name in ("model.safetensors", "encoder.json"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()


def test_mails_and_their_subjects(storyline: Command, tmp_path: Path) -> None:
    mails, out = tmp_path / "mails.jsonl", tmp_path / "model"
    rows = [
        {"body": f"we meet in room {number} at noon", "subject": f"room {number}"} for number in range(40)
    ]
    rows[3]["subject"] = ""
    mails.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    columns = ("--source", "body", "--target", "subject")
    result = storyline("train", "summarise", mails, *columns, "--out", out, *SMALL, "--epochs", "1")
    assert result.exit_code == 0, result.output
    assert "note: 1 of 40 pairs have an empty side" in result.output
    subjects = tmp_path / "subjects.jsonl"
    assert storyline("predict", out, mails, "--out", subjects).exit_code == 0
    written = [json.loads(line) for line in subjects.read_text(encoding="utf-8").splitlines()]
    assert [{name: row[name] for name in ("body", "subject")} for row in written] == rows
    metrics = json.loads(storyline("evaluate", out, mails, "--json").stdout)
    full = [row for row in written if row["subject"]]
    scorer = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=True)
    found = [scorer.score(row["subject"], row["prediction"])["rougeL"].fmeasure for row in full]
    assert metrics["rougeL"] == pytest.approx(sum(found) / 39, abs=1e-12)
    assert metrics["dropped"] == 1


@pytest.fixture
def contexts(tmp_path: Path) -> Path:
    """Questions about who went where; the eighth's answer is not in its context, the second has two right ones."""
    generator = random.Random(1)
    rows = []
    for number in range(40):
        name, place = (
            generator.choice(["Mary", "John", "Anna"]),
            generator.choice(["garden", "kitchen", "hall"]),
        )
        context = f"{name} went to the {place} number {number}."
        rows.append({"context": context, "question": f"Where is {name}?", "answer": place})
    rows[1]["answer"] = [rows[1]["answer"], "there"]
    rows[7]["answer"] = "nowhere"
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_questions_about_texts(storyline: Command, contexts: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    settings = ("--mode", "span", *SMALL, "--validation", contexts)
    result = storyline("train", "answer", contexts, "--out", out, *settings)
    assert result.exit_code == 0, result.output
    assert (
        "note: left out of the training, because the answer does not stand in its context: "
        f"{contexts}, line 8" in result.output
    )
    answers = tmp_path / "answers.jsonl"
    result = storyline("predict", out, contexts, "--out", answers)
    assert result.exit_code == 0, result.output
    for line in answers.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        assert row["context"][row["start"] : row["end"]] == row["prediction"]
        assert 0 < row["probability"] <= 1
    metrics = json.loads(storyline("evaluate", out, contexts, "--json").stdout)
    assert metrics["n"] == 40
    assert {"exact_match", "f1"} <= metrics.keys()
    result = storyline("predict", out, contexts, "--beam", "2")
    assert "or writes answers, and this one points at answers; leave it out" in result.output.replace(
        "\n", " "
    )


def test_questions_are_answered_in_words_by_a_search(
    storyline: Command, contexts: Path, tmp_path: Path
) -> None:
    out = tmp_path / "model"
    result = storyline("train", "answer", contexts, "--out", out, "--mode", "generate", *SMALL)
    assert result.exit_code == 0, result.output
    told = [storyline("predict", out, contexts, "--beam", beam).stdout for beam in ("1", "3")]
    assert told[0] == storyline("predict", out, contexts).stdout
    assert len(told[1].splitlines()) == 41
    found = storyline("evaluate", out, contexts, "--beam", "3", "--json")
    assert json.loads(found.stdout)["n"] == 40, found.output


def test_questions_start_from_other_texts(storyline: Command, contexts: Path, tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("the zyzzyva sails down the river\n" * 6, encoding="utf-8")
    (tmp_path / "vectors.txt").write_text("zyzzyva 0.1 0.2\nwent -0.3 0.4\n", encoding="utf-8")
    (tmp_path / "new.csv").write_text("context,question\nzyzzyva went,who went\n", encoding="utf-8")
    for number, more in enumerate(
        (
            ("--unlabelled", tmp_path / "more.txt"),
            ("--unlabelled", contexts),
            ("--vectors", tmp_path / "vectors.txt"),
        )
    ):
        out = tmp_path / f"model{number}"
        settings = ("--mode", "span", *SMALL, "--set", f"embedding_size={2 if number == 2 else 8}")
        result = storyline("train", "answer", contexts, "--out", out, *settings, *more)
        assert result.exit_code == 0, result.output
        # zyzzyva stands in none of the questions.
        unknown = storyline("predict", out, tmp_path / "new.csv").stderr
        assert f"{2 if number == 1 else 1} of 4" in unknown, unknown


@pytest.mark.parametrize(
    ("task", "line", "said"),
    [
        (
            "answer",
            {"context": "", "question": "q", "answer": "a"},
            "line 41, column 'context': an empty text",
        ),
        ("answer", {"context": "c", "question": "q"}, "line 41, column 'answer': no answer; fill it in"),
        (
            "answer",
            {"context": "c", "question": "q", "answer": ["a", 3]},
            "answer 2 is 3, where text was wanted",
        ),
        ("answer", {"context": "c", "question": "q", "answer": ["a", " "]}, "answer 2 is empty; fill it in"),
        ("chat", {"turns": "hello"}, "line 2, column 'turns': 'hello' where a list of turns was wanted"),
        ("chat", {"turns": []}, "line 2, column 'turns': an empty list where a list of turns"),
        (
            "chat",
            {"turns": ["a", ""]},
            "line 2, column 'turns': turn 2 is empty; fill it in, or leave it out",
        ),
    ],
)
def test_rows_that_hold_no_texts(
    storyline: Command, contexts: Path, tmp_path: Path, task: str, line: dict[str, object], said: str
) -> None:
    if task == "chat":
        contexts.write_text('{"turns": ["hello", "hi"]}\n', encoding="utf-8")
    with contexts.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    result = storyline("train", task, contexts, "--out", tmp_path / "model", *SMALL)
    assert result.exit_code == 2
    assert said in result.output
    assert not (tmp_path / "model").exists()


def test_dialogues(storyline: Command, tmp_path: Path) -> None:
    path, out = tmp_path / "dialogues.jsonl", tmp_path / "model"
    rows = [{"talk": ["hello", "hi there", f"bye {number}"]} for number in range(30)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    result = storyline("train", "chat", path, "--turns", "talk", "--out", out, *SMALL)
    assert result.exit_code == 0, result.output
    assert json.loads(storyline("evaluate", out, path, "--json").stdout)["turns"] == 90
    assert f"use `storyline chat {out}`" in storyline("predict", out, path).output.replace("\n", "")
