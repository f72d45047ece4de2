"""A model and batches small enough for tests of milliseconds."""

from typing import Any

import torch

from vlt.config import Config
from vlt.data import Batch
from vlt.model import VLT
from vlt.text import Tokenizer

CAPTIONS = [
    "Axial CT of the head shows a mass in the left frontal lobe.",
    "Axial CT of the head is normal.",
    "Sonogram of the abdomen with a small cyst in the right kidney.",
    "Frontal radiograph of the chest: effusion, measuring 12 mm.",
    "No abnormality of the chest is seen.",
    "Sagittal MR image of the knee shows a fracture.",
    "MRI of the brain: hemorrhage in the right parietal lobe.",
    "Calcification in the left calf muscle.",
]
TOKENIZER = Tokenizer.train(CAPTIONS, 200)


def config(**settings: Any) -> Config:
    """The smallest model that is still whole."""
    small: dict[str, Any] = {
        "image_size": 32,
        "width": 32,
        "heads": 2,
        "text_layers": 1,
        "fusion_layers": 2,
        "max_tokens": 24,
        "dropout": 0.0,
        "token_drop": 0.0,
        "word_drop": 0.0,
        "drop_path": 0.0,
        "batch_size": 8,
        "objectives": {"mlm": 1.0, "itm": 1.0, "itc": 1.0, "lm": 1.0},
    }
    return Config(**(small | settings))


def model(settings: Config, seed: int = 0) -> VLT:
    torch.manual_seed(seed)
    return VLT(settings, len(TOKENIZER), TOKENIZER.pad)


def batch(count: int = 8, size: int = 32, channels: int = 1, seed: int = 0) -> Batch:
    """Distinct noise images with distinct captions; the kinds alternate between two."""
    generator = torch.Generator().manual_seed(seed)
    encoded = [TOKENIZER.encode(CAPTIONS[row % len(CAPTIONS)], 24) for row in range(count)]
    length = max(len(one.ids) for one in encoded)
    tokens = torch.full((count, length), TOKENIZER.pad)
    words = torch.full((count, length), -1)
    for row, one in enumerate(encoded):
        tokens[row, : len(one.ids)] = torch.tensor(one.ids)
        words[row, : len(one.ids)] = torch.tensor(one.words)
    numbers = torch.arange(count)
    return Batch(
        images=torch.randint(0, 256, (count, channels, size, size), generator=generator, dtype=torch.uint8),
        tokens=tokens,
        present=tokens != TOKENIZER.pad,
        words=words,
        classes=(words >= 0).to(torch.uint8),
        image_id=numbers.clone(),
        caption_id=numbers.clone(),
        case_id=numbers.clone(),
        cluster_id=numbers.clone(),
        kind=numbers % 2,
        rows=numbers,
    )
