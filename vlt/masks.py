"""Who may attend to whom, as bool masks (True: may): bidirectional, or seq2seq as in UniLM (arXiv 1905.03197)."""

import torch
from torch import Tensor


def text_mask(present: Tensor, mask: str) -> Tensor:
    """Words over words: `present` (B, L) bool, False for padding -> (B, 1, L or 1, L).

    bidirectional: every word sees every word that is there. seq2seq: word i sees the words up to i.
    The first token, [CLS], is always there, so no row is empty.
    """
    keys = present[:, None, None]  # B, 1, 1, L
    if mask == "bidirectional":
        return keys
    length = present.shape[1]
    return keys & torch.ones(length, length, dtype=torch.bool, device=present.device).tril()


def merged_mask(present: Tensor, image_tokens: int, mask: str) -> Tensor:
    """One stream, image tokens first: `present` (B, L) -> (B, 1, N + L, N + L), or (B, 1, 1, N + L) if bidirectional.

    seq2seq: image tokens see image tokens alone; word i sees the image and the words up to i. Were the image to read
    the text, word i would see the words after it through the image, from the second layer on.
    """
    batch, length = present.shape
    image = present.new_ones(batch, 1, 1, image_tokens)
    words = text_mask(present, mask)
    if mask == "bidirectional":
        return torch.cat([image, words], dim=-1)
    over_image = present.new_ones(batch, 1, image_tokens + length, image_tokens)  # every row sees the image
    unseen = present.new_zeros(batch, 1, image_tokens, length)  # no image row sees a word
    return torch.cat([over_image, torch.cat([unseen, words], dim=2)], dim=3)
