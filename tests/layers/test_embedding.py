"""Vectors of tokens and of words as they are spelled."""

from __future__ import annotations

import pytest
import torch

from storyline.layers import CharacterEmbedding, TokenEmbedding

UNKNOWN, PAD = 1, 0


def test_words_are_dropped_by_their_rarity() -> None:
    torch.manual_seed(0)
    counts = torch.tensor([0, 0, 1, 10, 1000])
    embedding = TokenEmbedding(5, 3, unknown_id=UNKNOWN, counts=counts, word_dropout=0.25)
    ids = torch.arange(5).repeat(40_000, 1)
    replaced = (embedding(ids) == embedding.weight[UNKNOWN]).all(-1).float().mean(0)
    expected = torch.tensor([0.0, 1.0, 0.25 / 1.25, 0.25 / 10.25, 0.25 / 1000.25])
    standard_error = (expected * (1 - expected) / 40_000).sqrt()
    assert ((replaced - expected).abs() <= 4 * standard_error).all()
    embedding.eval()
    assert torch.equal(embedding(ids[0]), embedding.weight)


def test_padding_is_zero_and_is_not_trained() -> None:
    vectors = torch.randn(4, 3)
    embedding = TokenEmbedding(4, 3, unknown_id=UNKNOWN, vectors=vectors)
    assert torch.equal(embedding.weight[1:], vectors[1:])
    assert not embedding.weight[PAD].any()
    embedding(torch.tensor([[0, 1, 2]])).sum().backward()
    gradient = embedding.weight.grad
    assert gradient is not None
    assert gradient.any(1).tolist() == [False, True, True, False]


def test_vectors_start_with_a_length_of_about_one() -> None:
    torch.manual_seed(0)
    embedding = TokenEmbedding(2000, 64, unknown_id=UNKNOWN)
    assert embedding.weight[1:].square().sum(1).mean().item() == pytest.approx(1, abs=0.02)


def test_counts_are_not_saved() -> None:
    embedding = TokenEmbedding(4, 3, unknown_id=UNKNOWN, counts=torch.ones(4), word_dropout=0.1)
    assert list(embedding.state_dict()) == ["embedding.weight"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"word_dropout": 0.1}, "word_dropout=0.1 needs counts, how often each token occurs"),
        ({"word_dropout": -1.0}, "word_dropout is -1.0; it must be 0 or more"),
        (
            {"counts": torch.ones(3), "word_dropout": 0.1},
            r"counts are \(3,\); they must be \(4,\), one a token",
        ),
        ({"vectors": torch.ones(4, 2)}, r"vectors are \(4, 2\); they must be \(4, 3\)"),
        ({"unknown_id": 4}, "unknown_id is 4; the ids run from 0 to 3"),
    ],
)
def test_token_embedding_refuses(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TokenEmbedding(4, 3, **{"unknown_id": UNKNOWN, **options})


def test_each_word_is_spelled_alone() -> None:
    embedding = CharacterEmbedding(10, 6, character_size=4)
    characters = torch.randint(1, 10, (2, 3, 5))
    characters[1, 0] = characters[0, 1]
    lengths = torch.tensor([[5, 2, 0], [2, 1, 4]])
    words = embedding(characters, lengths)
    assert words.shape == (2, 3, 6)
    for place, length in zip(((0, 0), (0, 1), (1, 1), (1, 2)), (5, 2, 1, 4), strict=True):
        spelling = embedding.embedding(characters[place][:length]).unsqueeze(0)
        _, (h_n, _) = embedding.lstm(spelling)
        torch.testing.assert_close(words[place], h_n.flatten())
    assert torch.equal(words[0, 1], words[1, 0])
    assert not words[0, 2].any()
    words.sum().backward()
    assert embedding.embedding.weight.grad is not None


def test_a_batch_of_padding_alone() -> None:
    words = CharacterEmbedding(10, 6)(torch.zeros(2, 3, 4, dtype=torch.int64), torch.zeros(2, 3).long())
    assert words.shape == (2, 3, 6)
    assert not words.any()


def test_half_a_vector_a_direction() -> None:
    with pytest.raises(ValueError, match="embedding_size is 7; it must be even"):
        CharacterEmbedding(10, 7)
