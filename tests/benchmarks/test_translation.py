"""What the rows of the translation benchmarks say: scores of raw text, the way to the references, known baselines."""

from __future__ import annotations

from pathlib import Path

import pytest
import sacrebleu
from benchmarks.tasks import translation
from benchmarks.tasks.translation_scores import TranslationScores, score, share_closed, signature

REFERENCES = ["Ein Mann sieht ein Haus.", "Zwei Hunde laufen am Strand."]


def test_scores_of_raw_text() -> None:
    same = score(REFERENCES, REFERENCES)
    assert (same.bleu, same.chrf, same.ter) == pytest.approx((100, 100, 0))
    # Of 10 words two are others; sacreBLEU's TER takes the full stop as part of a word, and "haus." as "Haus.".
    other = score(["Ein Tier sieht kein Haus.", REFERENCES[1]], REFERENCES)
    assert other.ter == pytest.approx(20)
    # Right and all n-grams of 6 tokens each, the full stop one of them: 10/12, 6/10, 4/8, 3/6.
    assert other.bleu == pytest.approx(100 * (10 / 12 * 6 / 10 * 4 / 8 * 3 / 6) ** 0.25)
    assert score([line.lower() for line in REFERENCES], REFERENCES).ter == 0
    assert score([line.lower() for line in REFERENCES], REFERENCES).bleu < 80
    assert other.bleu_margin > 0
    assert other.ter_margin > 0
    assert "case:mixed" in signature()
    assert "tok:13a" in signature()


def test_as_many_translations_as_references() -> None:
    with pytest.raises(ValueError, match="there are 1 outputs and 2 references; give one for each"):
        score(["Ein Mann."], REFERENCES)


def test_share_of_the_way_to_the_references() -> None:
    system, baseline = (
        TranslationScores(bleu, 1.0, 50.0, ter, 1.0) for bleu, ter in ((40.0, 42.0), (20.0, 60.0))
    )
    assert share_closed(system, baseline) == pytest.approx(
        {"share of the gap closed, BLEU": 25, "share of the gap closed, TER": 30}
    )


def test_what_must_be_reached_hangs_on_the_twin() -> None:
    must = translation.above_twin(30.0, 5.0)
    assert must({translation.TWIN: 12.0}, {}) == 30.0
    assert must({translation.TWIN: 27.0}, {}) == 32.0


@pytest.mark.data
def test_word_by_word_is_as_good_as_known(data_folder: Path) -> None:
    references = translation.corpus("de", "en", False)[-1]
    assert sacrebleu.corpus_bleu(translation.word_by_word("de", "en", False), [references]).score >= 27.9
