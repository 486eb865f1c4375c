"""Hashed words, word lists and tokenizers on columns of text."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from distmtl.data.transforms.base import ColumnInfo, RowBatch
from distmtl.data.transforms.build import build_transform
from distmtl.data.transforms.specs import HashWordsSpec, TokeniseSpec, VocabularySpec
from distmtl.errors import ConfigError
from tests.data.transforms.test_ragged import lists

TEXT = {"a": ColumnInfo("text"), "b": ColumnInfo("text"), "city": ColumnInfo("categorical", vocabulary=("Bonn", "Ulm"))}
ROWS = {"a": pa.array(["A cat, a dog.", "", None, "dogs"]), "b": pa.array(["a cat", None, "x", ""])}


def run(spec, columns=TEXT, rows=ROWS):
    """What a transform describes and gives."""
    transform = build_transform(spec, columns)
    described = transform.describe(columns)
    made = transform.apply(RowBatch({name: rows[name] for name in transform.reads}, None))
    assert made.keys() == described.keys()
    return described, made


def hashed(word, buckets=2**15):
    return 2 + xxhash.xxh3_64_intdigest(word.encode()) % buckets


def test_hashed_words():
    described, made = run(HashWordsSpec(columns=("a",)))
    assert described == {"tokens": ColumnInfo("ragged", "int64", pad=0, max_length=128, size=2**15 + 2)}
    words = [["a", "cat", ",", "a", "dog", "."], [], [], ["dogs"]]
    assert lists(made["tokens"]) == [[hashed(word) for word in row] for row in words]
    kept = run(HashWordsSpec(columns=("a",), lowercase=False, buckets=50, max_length=2, into="x"))[1]["x"]
    assert lists(kept) == [[hashed("A", 50), hashed("cat", 50)], [], [], [hashed("dogs", 50)]]


def test_hashed_pairs():
    described, made = run(HashWordsSpec(columns=("a", "b"), types="types", max_length=6))
    a, cat, comma = hashed("a"), hashed("cat"), hashed(",")
    assert described["types"].size == 2
    assert lists(made["tokens"]) == [[a, cat, comma, 1, a, cat], [], [1, hashed("x")], [hashed("dogs"), 1]]
    assert lists(made["types"]) == [[0, 0, 0, 0, 1, 1], [], [0, 1], [0, 0]]


def test_hashing_spreads_words():
    rows = {"a": pa.array([" ".join(f"w{i}" for i in range(100_000))])}
    ids = run(HashWordsSpec(columns=("a",), buckets=100, max_length=100_000), rows=rows)[1]["tokens"].values
    assert np.bincount(ids)[2:].min() > 850
    assert (ids.min(), ids.max()) == (2, 101)


def test_a_list_of_words(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("dogs\ncat\n\nx\n")
    described, made = run(VocabularySpec(column="b", file=str(path)))
    assert described == {"b": ColumnInfo("categorical", vocabulary=("dogs", "cat", "x"))}
    assert made["b"].tolist() == [1, 0, 4, 1]
    assert made["b"].dtype == np.int32
    described, made = run(VocabularySpec(column="a", file=str(path), split=True, into="ids", max_length=5))
    assert described == {"ids": ColumnInfo("ragged", "int64", pad=0, max_length=5, size=5)}
    assert lists(made["ids"]) == [[1, 3, 1, 1, 1], [], [], [2]]


def test_the_vocabulary_of_another_column():
    rows = {"a": pa.array(["Ulm", "Paris", None, "Bonn"])}
    described, made = run(VocabularySpec(column="a", like="city", into="town"), rows=rows)
    assert described["town"].vocabulary == ("Bonn", "Ulm")
    assert made["town"].tolist() == [3, 1, 0, 2]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "comes from 'file' or from 'like'. Give one"),
        ({"file": "x", "like": "city"}, "comes from 'file' or from 'like'. Give one"),
        ({"file": "/no/words.txt"}, r"/no/words.txt: cannot read the list of words: .*No such file"),
        ({"like": "cty"}, "there is no column 'cty'. Did you mean 'city'?"),
        ({"like": "b"}, "column 'b' is text, not categorical"),
    ],
)
def test_what_is_wrong_with_a_vocabulary(given, said):
    with pytest.raises(ConfigError, match=said):
        build_transform(VocabularySpec(column="a", **given), TEXT)


def test_a_word_that_stands_there_twice(tmp_path):
    (tmp_path / "words.txt").write_text("a\nb\na\n")
    with pytest.raises(ConfigError, match="the word 'a' stands there 2 times"):
        build_transform(VocabularySpec(column="a", file=str(tmp_path / "words.txt")), TEXT)


def write_tokenizer(folder: Path, pad: str = "[PAD]") -> Path:
    words = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, pad: 3, "a": 4, "cat": 5, "dog": 6, "x": 7, ",": 8, ".": 9}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    single, pair = "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1"
    tokenizer.post_processor = processors.TemplateProcessing(single, pair, [("[CLS]", 1), ("[SEP]", 2)])
    tokenizer.enable_padding(length=50, pad_id=3, pad_token=pad)  # what a file says of padding does not count
    tokenizer.enable_truncation(3)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


@pytest.mark.parametrize("given", ["file", "folder"])
def test_a_trained_tokenizer(tmp_path, given):
    path = write_tokenizer(tmp_path)
    spec = TokeniseSpec(columns=("a",), tokenizer=str(path if given == "file" else tmp_path), into="ids")
    described, made = run(spec)
    assert described == {"ids": ColumnInfo("ragged", "int64", pad=3, max_length=128, size=10)}
    assert lists(made["ids"]) == [[1, 0, 5, 8, 4, 6, 9, 2], [1, 2], [1, 2], [1, 0, 2]]
    assert made["ids"].values.dtype == np.int64


def test_a_tokenizer_takes_pairs(tmp_path):
    spec = TokeniseSpec(columns=("a", "b"), tokenizer=str(write_tokenizer(tmp_path)), types="side", max_length=8)
    described, made = run(spec)
    assert lists(made["tokens"]) == [[1, 0, 5, 8, 2, 4, 5, 2], [1, 2], [1, 2, 7, 2], [1, 0, 2, 2]]
    assert lists(made["side"]) == [[0, 0, 0, 0, 0, 1, 1, 1], [0, 0], [0, 0, 1, 1], [0, 0, 0, 1]]
    assert described["side"].size == 2


def test_the_padding_of_a_tokenizer(tmp_path):
    path = str(write_tokenizer(tmp_path))
    assert run(TokeniseSpec(columns=("a",), tokenizer=path, pad=12))[0]["tokens"].size == 13
    tokenizer = Tokenizer.from_file(path)
    tokenizer.no_padding()
    tokenizer.save(path)
    assert run(TokeniseSpec(columns=("a",), tokenizer=path))[0]["tokens"].pad == 3
    write_tokenizer(tmp_path, pad="hole")
    tokenizer = Tokenizer.from_file(path)
    tokenizer.no_padding()
    tokenizer.save(path)
    assert run(TokeniseSpec(columns=("a",), tokenizer=path))[0]["tokens"].pad == 0


def test_what_is_wrong_with_a_tokenizer(tmp_path):
    with pytest.raises(ConfigError, match="there is no such tokenizer"):
        build_transform(TokeniseSpec(columns=("a",), tokenizer=str(tmp_path)), TEXT)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"tokenizer\.json: this is no tokenizer"):
        build_transform(TokeniseSpec(columns=("a",), tokenizer=str(tmp_path)), TEXT)


@pytest.mark.parametrize("spec", [HashWordsSpec(columns=("city",)), VocabularySpec(column="city", like="city")])
def test_only_text_is_read_as_text(spec):
    with pytest.raises(ConfigError, match="column 'city' is categorical, not text"):
        build_transform(spec, TEXT).describe(TEXT)
