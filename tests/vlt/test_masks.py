import pytest
import torch

from vlt.masks import merged_mask, text_mask

PRESENT = torch.tensor([[True, True, True, True], [True, True, False, False]])


def test_bidirectional_words_see_every_word_that_is_there():
    assert text_mask(PRESENT, "bidirectional")[:, 0].expand(2, 4, 4).tolist() == [
        [[True] * 4] * 4,
        [[True, True, False, False]] * 4,
    ]


def test_seq2seq_words_see_the_words_up_to_them():
    allowed = text_mask(PRESENT, "seq2seq")[:, 0]
    assert allowed[0].tolist() == torch.ones(4, 4).tril().bool().tolist()
    assert allowed[1].tolist() == [[True, False, False, False]] + [[True, True, False, False]] * 3


def test_merged_seq2seq_image_tokens_see_the_image_alone_and_words_see_all_of_it():
    allowed = merged_mask(PRESENT, 3, "seq2seq")[:, 0]
    assert allowed[:, :3, :3].all() and not allowed[:, :3, 3:].any()
    assert allowed[:, 3:, :3].all()
    assert torch.equal(allowed[:, 3:, 3:], text_mask(PRESENT, "seq2seq")[:, 0])


@pytest.mark.parametrize("mask", ["bidirectional", "seq2seq"])
def test_no_row_is_empty(mask):
    assert merged_mask(PRESENT, 2, mask).any(-1).all() and text_mask(PRESENT, mask).any(-1).all()
