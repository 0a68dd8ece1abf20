"""Where the real data of the benchmarks come from, and where they are looked for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from benchmarks import record

# A folder below shared/data -> (name, split used, public source).
SOURCES: dict[str, tuple[str, str, str]] = {
    "trec": (
        "TREC questions (Li & Roth 2002)",
        "official: 5,452 train, 500 test",
        "https://github.com/AcademiaSinicaNLPLab/sentiment_dataset, data/TREC.{train,test}.all",
    ),
    "sst2": (
        "SST-2, Stanford Sentiment Treebank",
        "official: 6,920 train, 872 dev, 1,821 test",
        "https://github.com/YJiangcm/SST-2-sentiment-analysis, data/{train,dev,test}.tsv",
    ),
    "imdb": (
        "IMDb reviews (Maas et al. 2011)",
        "the training text only, without its labels, for the word vectors of TREC and SST-2",
        "https://github.com/PVidyadhar/Detection-of-Fraud-apps-using-Sentiment-Analysis, aclImdb/train",
    ),
    "aeslc": (
        "AESLC, e-mails of Enron and their subjects (Zhang & Tetreault 2019)",
        "official: 14,436 train, 1,960 dev; results are on dev",
        "https://github.com/ryanzhumich/AESLC, enron_subject_line/{train,dev}",
    ),
    "dialogsum": (
        "DialogSum (Chen et al. 2021)",
        "dev: 500 dialogues and their topics, as text of another kind for the model of AESLC",
        "https://github.com/cylnlp/dialogsum, DialogSum_Data/dialogsum.dev.jsonl",
    ),
    "ucr_uea": (
        "JapaneseVowels, UCR/UEA archive",
        "official: 270 train, 370 test",
        "https://github.com/aeon-toolkit/aeon, aeon/datasets/data/JapaneseVowels",
    ),
    "mnist": (
        "MNIST (LeCun, Cortes)",
        "official: 60,000 train, 10,000 test",
        "https://github.com/rasbt/mnist-pngs, turned back into the four idx files",
    ),
    "ud_english_ewt": (
        "UD English EWT",
        "official: 12,544 sentences train, 2,001 dev; results are on dev",
        "https://github.com/UniversalDependencies/UD_English-EWT",
    ),
    "multi30k": (
        "Multi30k (Elliott et al. 2016), English and German",
        "official: 29,000 train, 1,014 validation, 1,000 test (2016, Flickr)",
        "https://github.com/multi30k/dataset, data/task1/raw/{train,val,test_2016_flickr}.{en,de}.gz",
    ),
    "tiny_shakespeare": (
        "tiny_shakespeare (Karpathy)",
        "first 90 % of the characters train, last 10 % validation",
        "https://github.com/karpathy/char-rnn, data/tinyshakespeare/input.txt",
    ),
    "babi": (
        "bAbI tasks 1.2, English, 10k (Weston et al. 2015), 15 of the 20 tasks",
        "official: 10,000 questions a task train, 1,000 test",
        "https://github.com/Zevere/NLP-Python, DataModel/qa*_{train,test}.txt in one zip",
    ),
    "squad11_dev": (
        "SQuAD 1.1 (Rajpurkar et al. 2016), 36 articles, 8,001 questions",
        "by article: 6 test, 3 choose the weights, 27 train",
        "https://github.com/rajpurkar/SQuAD-explorer, branch gh-pages, explore/1.1/dev/*.html as one JSON, gzipped",
    ),
    "wikitext2": (
        "WikiText-2 (Merity et al. 2016)",
        "official train and validation",
        "https://github.com/pytorch/examples, word_language_model/data/wikitext-2 (validation); "
        "https://github.com/longluv1605/drive, wikitext-2-v1.zip (train)",
    ),
    "dailydialog": (
        "DailyDialog (Li et al. 2017)",
        "official train and validation; 300 dialogues of train choose the weights",
        "https://github.com/r4m-t1n/DailyDialog-Bot, data/Datasets.rar, as JSON Lines",
    ),
    "english_novels": (
        "28 English novels, 1881 to 1933",
        "by novel: the stories' filling of training, validation and test",
        "https://github.com/computationalstylistics/100_english_novels, corpus/*.txt",
    ),
    "sec_10k_mda": (
        "management's discussions from annual filings (10-K)",
        "by company: the filling of *filing*",
        "https://github.com/pChitral/ETL-SEC-EDGAR-10-k-Filings, ticker_data/*.parquet",
    ),
    "colorless_green": (
        "agreement: Linzen et al. 2016, Gulordava et al. 2018",
        "test only",
        "https://github.com/facebookresearch/colorlessgreenRNNs, data/agreement and data/linzen_testset",
    ),
    "blimp": (
        "BLiMP (Warstadt et al. 2020)",
        "test only",
        "https://github.com/alexwarstadt/blimp, data/*.jsonl in one file, gzipped",
    ),
}


class MissingDataError(FileNotFoundError):
    """Real data that a benchmark reads are not where it looks for them."""


def data_file(folder: str, pattern: str) -> Path:
    """The first file of that pattern in a folder of the data, by name; MissingDataError where there is none."""
    found = sorted((record.DATA / folder).glob(pattern))
    if not found:
        raise _missing(folder, pattern)
    return found[0]


def check(folders: Iterable[str]) -> None:
    """Raise MissingDataError at the first folder that is not there, before anything is trained."""
    for folder in folders:
        if not (record.DATA / folder).is_dir():
            raise _missing(folder, "")


def _missing(folder: str, pattern: str) -> MissingDataError:
    name, _, source = SOURCES[folder]
    return MissingDataError(f"no {record.DATA / folder / pattern}; put {name} there, from {source}")


def data_table() -> str:
    """A row a data set, for README."""
    rows = [f"| {name} | {split} | {source} |" for name, split, source in SOURCES.values()]
    return "\n".join(["| data | split used | public source |", "|---|---|---|", *rows])
