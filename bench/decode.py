"""Tokens a second of a core, written about an image: with keys and values kept, and by a whole pass for every token.

    python bench/decode.py [--tokens N] [--rounds N]

Both run the same search, on random weights and image tokens, with an end that never comes; they take turns in every
round. Seconds are the processor's, which other work on the machine distorts less; the ratio is the median of the
rounds'. A paper-like model is of width 512, 6 text and 6 fusion layers and 30,522 words, and gets one round.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from torch import Tensor

from vlt.config import Config
from vlt.decode import Decoder, Search, generate
from vlt.model import VLT

NEVER = -1  # no token
CLS = 2
MODELS: dict[str, tuple[dict, int, int]] = {  # settings, words, image tokens
    "nano": ({}, 4000, 64),
    "paper-like": ({"width": 512, "heads": 8, "text_layers": 6, "fusion_layers": 6}, 30_522, 49),
}


class Recomputing(Decoder):
    """A decoder that keeps the words and nothing that it computed of them."""

    tokens: Tensor  # R, all words

    def read(self, tokens: Tensor, present: Tensor | None = None) -> Tensor:
        """As `Decoder.read`; of a prompt in one go, then a word at a time."""
        self.tokens = tokens if present is not None else torch.cat([self.tokens, tokens], dim=1)
        there = torch.ones_like(self.tokens, dtype=torch.bool)
        text = self.model.encode_text(self.tokens, there, "seq2seq")
        image = self.image.repeat_interleave(len(text) // len(self.image), dim=0)
        return self.model.fuse(text, image, there, "seq2seq").text[:, -tokens.shape[1] :]

    def select(self, rows: Tensor, images: Tensor) -> None:
        """As `Decoder.select`."""
        self.tokens, self.image = self.tokens[rows], self.image[images]


def timed(decoder: Decoder, beams: int) -> tuple[float, list[int]]:
    """Seconds of the processor, and the text."""
    begun = time.process_time()
    (told,) = generate(decoder, [[CLS]], Search(beams), end=NEVER)
    return time.process_time() - begun, told.ids


def row(name: str, fusion: str, beams: int, tokens: int, rounds: int) -> str:
    """A row of the table."""
    settings, words, places = MODELS[name]
    torch.manual_seed(0)
    model = VLT(Config(fusion=fusion, max_tokens=tokens + 1, **settings), words, 0).eval()
    image = torch.randn(1, places, model.config.width)
    for kind in (Decoder, Recomputing):
        kind(model, image).start([[CLS]])  # warms up
    kept, whole, same = [], [], True
    for _ in range(rounds):
        seconds, ids = timed(Decoder(model, image), beams)
        kept.append(seconds)
        seconds, others = timed(Recomputing(model, image), beams)
        whole.append(seconds)
        same &= ids == others
    ratio = statistics.median(b / a for a, b in zip(kept, whole, strict=True))
    rates = [f"{tokens / statistics.median(times):,.1f}" for times in (kept, whole)]
    return f"| {name} | {fusion} | {beams} | {' | '.join(rates)} | {ratio:.1f} | {'yes' if same else 'no'} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print(f"One thread, {asked.tokens} tokens about one image; rounds of nano {asked.rounds}\n")
    print("| model | fusion | beams | kept, tokens/s | whole passes, tokens/s | ratio | same text |")
    print("| --- | --- | ---: | ---: | ---: | ---: | --- |")
    for name in MODELS:
        for fusion in ("cross", "merged"):
            for beams in (1, 3, 8):
                print(row(name, fusion, beams, asked.tokens, asked.rounds if name == "nano" else 1), flush=True)


if __name__ == "__main__":
    main()
