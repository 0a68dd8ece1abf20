"""Every story: an oracle reads it without a fault, a bag of words is at chance, no fact and no filling leaks."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import oracles
import pytest

from storyline.stories import KINDS, STORIES, Story
from storyline.stories.bag import bag_of_words
from storyline.stories.scoring import fact_marks, marks, recall

# What a story's depth or distance is where words are nested instead of filled in.
SHORT = {"chase": 4, "books": 4}
# A threshold on the number of ones is right more often than not in parity, the less the more bits there are.
FAR = {"parity": 1_000}


def drawn(name: str, *, most: bool = False, **parameters: object) -> Story:
    """The usual story, or the one with the most facts and distractors that fit together."""
    if most:
        kind = KINDS[name]
        parameters |= {"facts": kind.facts[2], "distractors": kind.distractors[2]}
        if name == "anna":
            parameters["distractors"] = 3
        if name in {"copy", "selective-copy", "parity"}:
            parameters["facts"] = 30
        if name == "associative-recall":
            parameters |= {"facts": 5, "distractors": 5}
    return Story(name, **parameters)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", STORIES)
@pytest.mark.parametrize("most", [False, True], ids=["usual", "most"])
def test_an_oracle_reads_every_distance_and_distractor(name: str, most: bool) -> None:
    story = drawn(name, most=most)
    for split in ("train", "validation", "test"):
        examples = story.batch(40, split, distance=(6, 60))
        right = marks(story, examples, oracles.answers(name, examples))
        assert right.all(), examples.words(int(examples.question_rows[int(np.argmin(right))]))
    far = story.batch(2, "test", distance=3000)
    assert fact_marks(far, marks(story, far, oracles.answers(name, far))).all()


@pytest.mark.data
@pytest.mark.parametrize("name", [name for name in STORIES if KINDS[name].filled])
def test_real_prose_tells_no_other_fact(name: str, data_folder: Path) -> None:
    for prose in ("english_novels", "sec_10k_mda"):
        story = Story(name, 1, filling=str(data_folder / prose))
        examples = story.batch(30, "test", distance=(300, 3000))
        assert marks(story, examples, oracles.answers(name, examples)).all()


@pytest.mark.parametrize("name", STORIES)
def test_a_bag_of_words_is_at_chance(name: str) -> None:
    distance = (SHORT | FAR).get(name, 25)
    # Digits and symbols of one example hang together: the interval is of examples, not of questions.
    # Where there are few words many examples are read, so that a small leak shows too.
    story = Story(name)
    n = 2_000 if not KINDS[name].filled and name not in FAR else 600
    n //= KINDS[name].facts[0]
    found = recall(bag_of_words(story, distance=distance, n=n + 400), story, distance, n=n)
    share, chance = found.questions_right / found.questions, found.question_chance
    deviation = np.sqrt(chance * (1 - chance) / n)
    assert abs(share - chance) < 3.5 * deviation, f"{share:.3f}, and chance is {chance:.3f}"
    if not story.channels:
        bayes = recall(bag_of_words(story, "bayes", distance=distance), story, distance, n=n)
        # It may be worse than chance: it does not know that only what was named can be the answer.
        assert bayes.questions_right / bayes.questions < chance + 3.5 * deviation


def test_a_bag_of_words_finds_what_counts_tell() -> None:
    # One distance: of the symbols x and y alone, the bag knows all but their order.
    story = Story("temporal-order", 20)
    examples = story.batch(300, "test")
    reader = bag_of_words(story, n=600)
    told_by_counts = np.isin(examples.answers, [story.classes.index(each) for each in ("xx", "yy")])
    assert marks(story, examples, reader(examples))[told_by_counts].mean() > 0.9


@pytest.mark.parametrize("name", STORIES)
def test_the_distance_lies_between_fact_and_question(name: str) -> None:
    story = drawn(name)
    for distance in (7, 200):
        examples = story.batch(20, "train", distance=distance)
        asked = examples.question_steps < examples.lengths[examples.question_rows]
        assert asked.all()
        told = examples.told_steps
        lags = (examples.question_steps - told)[told >= 0]
        assert (examples.distances == distance).all()
        if name in {"adding", "temporal-order"}:  # there it is the length of the sequence
            assert (examples.lengths >= distance).all()
        elif name == "clouds":  # the control: whatever the distance, four words tell the answer
            assert (lags == 3).all()
            assert (examples.lengths > distance).all()
        elif name == "selective-copy":
            assert (examples.lengths == distance + 20).all()
        elif name != "parity":
            assert (lags >= distance).all()
            assert lags.min() <= distance + (4 * distance if name in {"books", "chase"} else 80)


@pytest.mark.parametrize("name", STORIES)
def test_a_seed_fixes_a_batch_and_splits_differ(name: str) -> None:
    story = drawn(name)

    def inputs(split: str, rng: int | None = None) -> np.ndarray:
        examples = story.batch(5, split, rng, distance=20)
        return examples.tokens if examples.tokens is not None else examples.values

    assert np.array_equal(inputs("train"), inputs("train", 0))
    for other in (inputs("test"), inputs("train", 1)):
        assert not np.array_equal(inputs("train"), other)


def test_another_process_draws_the_same() -> None:
    code = (
        "import zlib; from storyline.stories import STORIES, Story\n"
        "for name in STORIES:\n"
        "    e = Story(name).batch(3, 'test', 5, distance=12)\n"
        "    print(name, zlib.crc32((e.tokens if e.tokens is not None else e.values).tobytes()), e.answers.tolist())"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
        )
        for environment in ({"PYTHONHASHSEED": "1", **paths()}, {"PYTHONHASHSEED": "2", **paths()})
    ]
    assert runs[0].stdout == runs[1].stdout
    assert runs[0].stdout.count("\n") == len(STORIES)


def paths() -> dict[str, str]:
    return {"PYTHONPATH": ":".join(path for path in sys.path if path)}


# What is told together in a story, so that it may be in one split only.
TOLD = {
    "party": r"(?:means|shall be|, that is) (\w+)",
    "john-he": r"(\w+) (?:came in|took the floor|began to speak)|(?:spoke of|forgotten) (\w+)",
    "breakfast": r"(?:for breakfast he had|that morning he ate) (\w+)|he had (\w+) for breakfast",
}


@pytest.mark.parametrize("name", TOLD)
def test_no_set_of_facts_is_in_two_splits(name: str) -> None:
    def told(split: str) -> set[tuple[str, ...]]:
        examples = Story(name, 5, 1).batch(400, split)
        return {
            tuple(sorted("".join(found) for found in re.findall(TOLD[name], " ".join(examples.words(row)))))
            for row in range(400)
        }

    train, validation, test = told("train"), told("validation"), told("test")
    assert len(train) > 100
    assert not train & test
    assert not train & validation
    assert not validation & test


@pytest.mark.parametrize(
    ("name", "pair"),
    [
        ("anna", r"(\w+) is (\w+) \.|(\w+) is what they call (\w+)"),
        ("associative-recall", r"(k\d+) (v\d+)"),
        ("router", r"(router) .*?serial number (\w+ \w+ \w+ \w+ \w+)"),
    ],
)
def test_no_pair_is_in_two_splits(name: str, pair: str) -> None:
    def told(split: str) -> set[frozenset[str]]:
        examples = Story(name, 5).batch(300, split)
        texts = (" ".join(examples.words(row)) for row in range(300))
        return {frozenset(filter(None, found)) for text in texts for found in re.findall(pair, text)}

    assert not told("train") & told("test")
    # A name (a key) that is asked for in the test was learnt with others.
    if name != "router":
        assert set.union(*map(set, told("test"))) <= set.union(*map(set, told("train")))


VARIED = {
    "anna": (r"(\w+) is (\w+) \.|(\w+) is what they call (\w+)", 12),
    "theme": (r"theme \w+ : (\S+) (\S+) (\S+) (\S+) (\S+)", 5),
}


def test_every_kind_with_varieties_is_looked_at() -> None:
    assert {name for name in STORIES if KINDS[name].varieties > 1} == set(VARIED)


@pytest.mark.parametrize("name", VARIED)
def test_of_little_variety_few_facts_are_told_and_an_oracle_reads_them(name: str) -> None:
    pattern, fewest = VARIED[name]
    story, different = Story(name, 5), []
    for variety in (1, 2, KINDS[name].varieties, None):
        examples = story.batch(200, rng=1, variety=variety)
        assert marks(story, examples, oracles.answers(name, examples)).all()
        told = (re.findall(pattern, " ".join(examples.words(row))) for row in range(200))
        different.append(len({word for found in told for groups in found for word in groups if word}))
    assert different[0] == fewest
    assert different[0] < different[1] < different[2] == different[3]


def test_a_variety_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="variety=16; anna has 1 to 15"):
        Story("anna").batch(2, variety=16)
    with pytest.raises(ValueError, match="variety=2; party has 1 to 1"):
        Story("party").batch(2, variety=2)


def test_each_country_is_known_from_other_sentences() -> None:
    def told(split: str) -> set[tuple[str, str]]:
        examples = Story("france", 5, 1).batch(600, split)
        found = set()
        for row in range(600):
            words = examples.words(row)
            (step, answer), told_step = examples.questions(row)[0], examples.told_steps[row]
            sentence = " ".join(words[: told_step + 1]).split(" . ")[-1]
            country = next(word for word in sentence.split() if word in oracles.LANGUAGE)
            assert oracles.LANGUAGE[country] == answer
            assert step == len(words) - 1
            found.add((country, sentence.replace(country, "_")))
        return found

    train, test = told("train"), told("test")
    assert not train & test
    assert {country for country, _ in test} <= {country for country, _ in train}


def test_ragged_rows_are_as_if_alone() -> None:
    story = Story("party", facts=2)
    examples = story.batch(6, "train", distance=[3, 90, 11, 40, 3, 200])
    assert examples.tokens is not None
    assert examples.tokens.shape == (6, examples.lengths.max())
    assert examples.distances.tolist() == [3, 90, 11, 40, 3, 200]
    for row in range(6):
        assert (examples.tokens[row, examples.lengths[row] :] == 0).all()
        assert (examples.tokens[row, : examples.lengths[row]] > 0).all()
        assert [step for step, _ in examples.questions(row)][-1] == examples.lengths[row] - 1
    assert np.bincount(examples.question_rows).tolist() == [2] * 6
    drawn_lengths = story.batch(200, "train", distance=(10, 20)).distances
    assert set(drawn_lengths.tolist()) == set(range(10, 21))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"name": "prty"}, "no story; the stories are party"),
        ({"name": "party", "facts": 9}, "facts=9, but party is told with 1 to 4"),
        ({"name": "party", "distractors": 0}, "distractors=0, but party is told with 1 to 8"),
        ({"name": "party", "distance": 0}, "distance=0; it counts words"),
        ({"name": "party", "vocabulary_size": 0}, "vocabulary_size=0"),
    ],
)
def test_a_story_that_cannot_be_told_is_refused(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Story(**parameters)  # type: ignore[arg-type]


def test_a_batch_that_cannot_be_drawn_is_refused() -> None:
    story = Story("party")
    with pytest.raises(ValueError, match="'dev' is no split; the splits are train"):
        story.batch(2, "dev")
    with pytest.raises(ValueError, match="n=0; a batch needs"):
        story.batch(0)
    with pytest.raises(ValueError, match=r"give \(least, most\)"):
        story.batch(2, distance=(5, 2))
    with pytest.raises(ValueError, match="a list of n=2"):
        story.batch(2, distance=[5, 2, 1])
    with pytest.raises(ValueError, match=r"distractors=2; router deals .* try 3"):
        Story("router", distractors=2).batch(1)
    with pytest.raises(ValueError, match="facts=3, but a nesting of 2 clauses"):
        Story("chase", 1, facts=3).batch(1)
    with pytest.raises(ValueError, match="no words; read `values`"):
        Story("adding").batch(1).words(0)
