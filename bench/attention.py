"""Do the words of a finding look at the finding? Attention inside the boxes of the sample's phantoms.

    python bench/attention.py --run NAME [--sample DIR] [--corpus VERSION] [--db DB] [--cells 1] [--heads] [--json]

All finding, side and size words of a caption are hidden at once, and the model's attention in the rows of the hidden
words is summed inside the box of the finding, each cell of the grid by the share of it that the box covers. Beside it:

- `reachable`: what a model that looks at the best cell alone has there: a box smaller than a cell fills none;
- `area`: the share of the (letterboxed) image that the box takes, what attention that is spread evenly puts there;
- `shuffled`: the same words with the image of another case of the same modality, plane and region, in the same box;
  the mean of 4 of them (fewer where there are fewer). What looks at the middle of the body has as much there.

The differences are paired, with 95 % bootstrap intervals by case. Montages, copies and images without a box are left
out, and so are lines of fewer than 10 cases. `--sample`: the rendered sample  [default: the newest in data/cache].
`--corpus`, `--db`: only images that are validated or tested on in that version, for a run that learned from the sample.
`--cells`: only boxes as large as so many cells.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from torch import Tensor

from corpus_db.read import image as read_image
from corpus_db.read import version
from vlt import predict
from vlt.attention_maps import check, maps
from vlt.metrics.intervals import interval, resampled
from vlt.words import NORMAL, WordClass, classify

CACHE = Path(__file__).resolve().parent.parent / "data" / "cache"
CLASSES = {"finding": WordClass.FINDING, "side": WordClass.SIDE, "size": WordClass.SIZE}
FEW = 10  # cases, without which a line says nothing
OTHERS = 4  # shuffled images of each
AT_ONCE = 64
Truth = dict[str, Any]


class Words(NamedTuple):
    """A caption with its hard words hidden."""

    ids: list[int]
    classes: list[int]  # of each token the WordClass that is asked for, 0: not hidden or not asked


def overlap(box: Sequence[float], shape: tuple[int, int], size: int, grid: tuple[int, int]) -> np.ndarray:
    """The share of each cell that a box covers, float64 (rows, columns), once its image is letterboxed.

    `box` x0, y0, x1, y1 in pixels of an image of `shape` (H, W), the ends not included; `size`: of the letterboxed
    square, as `vlt.pack.letterbox` makes it; `grid`: rows and columns of cells in the square.
    """
    height, width = (max(round(side * size / max(shape)), 1) for side in shape)
    top, left = (size - height) // 2, (size - width) // 2
    x0, x1 = (left + x * width / shape[1] for x in box[0::2])
    y0, y1 = (top + y * height / shape[0] for y in box[1::2])
    return np.outer(_covered(y0, y1, size, grid[0]), _covered(x0, x1, size, grid[1]))


def _covered(begin: float, end: float, size: int, cells: int) -> np.ndarray:
    """The share of each of some equal parts of 0 .. size that begin .. end covers."""
    edges = np.linspace(0, size, cells + 1)
    inside = np.minimum(edges[1:], end) - np.maximum(edges[:-1], begin)
    return inside.clip(0) * cells / size


def rows_of(sample: Path, held_out: set[str] | None) -> list[Truth]:
    """The truth of images that show a finding whose box is known; `held_out`: only those of these names."""
    rows = [json.loads(line) for line in (sample / "truth.jsonl").read_text().splitlines()]
    plain = (one for one in rows if one["box"] and one["radiology"] and not one["montage"])
    kept = [one for one in plain if one["duplicate_of"] is None and one["clean_caption"]]
    return [one for one in kept if held_out is None or Path(one["name"]).stem in held_out]


def hidden(caption: str, model: predict.Model) -> Words:
    """All finding, side and size words hidden; asked are those that do not say "normal" or deny."""
    names = model.tokenizer
    encoded, words = names.encode(caption, model.config.max_tokens), names.word_strings(caption)
    kinds = [*classify(words), WordClass.FUNCTION]  # the last for the specials, whose word is -1
    ids = [
        names.mask if kinds[word] >= WordClass.FINDING else number
        for number, word in zip(encoded.ids, encoded.words, strict=True)
    ]
    asked = [
        int(kinds[word]) if kinds[word] >= WordClass.FINDING and words[word] not in NORMAL else 0
        for word in encoded.words
    ]
    return Words(ids, asked)


def others(rows: Sequence[Truth], seed: int = 0) -> np.ndarray:
    """For each image the places of OTHERS other cases' of its kind, -1 where there are fewer: (M, OTHERS)."""
    chance = np.random.default_rng(seed)
    kinds = np.array([f"{one['modality']}/{one['plane']}/{one['region']}" for one in rows])
    cases = np.array([one["case_id"] for one in rows])
    found = np.full((len(rows), OTHERS), -1)
    for place in range(len(rows)):
        fits = np.flatnonzero((kinds == kinds[place]) & (cases != cases[place]))
        drawn = chance.permutation(fits)[:OTHERS]
        found[place, : len(drawn)] = drawn
    return found


@torch.no_grad()
def inside(model: predict.Model, words: Sequence[Words], images: Tensor, boxes: Tensor) -> np.ndarray:
    """Attention inside the boxes: (M, classes, layers, heads); NaN where a caption has no word of a class.

    Of attention that goes to the image, so that a merged fusion compares. images (M, N, width), boxes (M, N).
    """
    found = []
    for first in range(0, len(words), AT_ONCE):
        part = slice(first, first + AT_ONCE)
        tokens, classes = (_padded([one[field] for one in words[part]], fill) for field, fill in ((0, PAD), (1, 0)))
        tokens[tokens == PAD] = model.tokenizer.pad
        tokens, present = tokens.to(model.device), (tokens != model.tokenizer.pad).to(model.device)
        mask = model.config.mask
        text = model.vlt.encode_text(tokens, present, mask)
        seen = maps(model.vlt, images[part], text, present, mask)  # B, layers, heads, L, N
        share = (seen * boxes[part, None, None, None]).sum(-1) / seen.sum(-1)  # B, layers, heads, L
        asked = torch.stack([classes == kind for kind in CLASSES.values()], 1).to(share)  # B, classes, L
        summed = torch.einsum("bkhl,bcl->bckh", share, asked)
        found.append((summed / asked.sum(-1)[..., None, None]).cpu().numpy())  # 0 / 0 is NaN
    return np.concatenate(found)


PAD = -1


def _padded(rows: Sequence[Sequence[int]], fill: int) -> Tensor:
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[fill] * (longest - len(row))] for row in rows])


def looked_at(model: predict.Model, sample: Path, rows: Sequence[Truth]) -> tuple[Tensor, Tensor]:
    """The tokens (M, N, width) of the images and the share of each cell in the box (M, N), on the device."""
    tokens, boxes = [], []
    for first in range(0, len(rows), AT_ONCE):
        pictures = [read_image(sample / "images" / one["name"]) for one in rows[first : first + AT_ONCE]]
        tokens.append(model._image_tokens(pictures))
        for one, picture in zip(rows[first:], pictures, strict=False):
            grid = model.vlt.backbone.grid
            boxes.append(overlap(one["box"], picture.shape[:2], model.config.image_size, grid).ravel())
    return torch.cat(tokens), torch.from_numpy(np.array(boxes)).to(tokens[0])


def measured(model: predict.Model, sample: Path, rows: Sequence[Truth]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """In the box, with its own image and with others' (M, classes, layers, heads), and the boxes' shares (M, N)."""
    with torch.no_grad():
        images, boxes = looked_at(model, sample, rows)
    words = [hidden(one["clean_caption"], model) for one in rows]
    own, drawn = inside(model, words, images, boxes), others(rows)
    controls = np.full((OTHERS, *own.shape), np.nan)
    for turn in range(OTHERS):
        some = np.flatnonzero(drawn[:, turn] >= 0)
        chosen = torch.from_numpy(drawn[some, turn]).to(images.device)
        controls[turn, some] = inside(model, [words[place] for place in some], images[chosen], boxes[some])
    alone = np.isnan(controls).all(0)
    shuffled = np.where(alone, np.nan, np.nansum(controls, 0) / np.maximum((~np.isnan(controls)).sum(0), 1))
    return own, shuffled, boxes.cpu().numpy()


def table(
    rows: Sequence[Truth], own: np.ndarray, shuffled: np.ndarray, boxes: np.ndarray, heads: bool
) -> Iterator[dict[str, Any]]:
    """A line for each class of words, layer and the mean of its heads (and each head)."""
    cases = np.array([one["case_id"] for one in rows])
    for place, name in enumerate(CLASSES):
        for layer in range(own.shape[2]):
            for head in [None, *(range(own.shape[3]) if heads else ())]:
                pick = slice(None) if head is None else slice(head, head + 1)
                mine, other = (part[:, place, layer, pick].mean(1) for part in (own, shuffled))
                some = ~np.isnan(mine) & ~np.isnan(other)
                if len(set(cases[some])) >= FEW:
                    which = {"words": name, "layer": layer + 1, "heads": "mean" if head is None else head + 1}
                    yield which | compared(cases[some], mine[some], other[some], boxes[some])


def compared(cases: np.ndarray, mine: np.ndarray, other: np.ndarray, boxes: np.ndarray) -> dict[str, Any]:
    """Attention in the box (M,), with its own image and with others', and the differences with their intervals."""
    area = boxes.mean(1)
    differences = np.stack([mine - area, mine - other], 1)
    spread = resampled(cases.tolist(), differences)
    return {
        "images": len(mine),
        "cases": len(set(cases)),
        "in box": float(mine.mean()),
        "reachable": float(boxes.max(1).mean()),
        "area": float(area.mean()),
        "shuffled": float(other.mean()),
        "over area": [float(differences[:, 0].mean()), *interval(spread[:, 0])],
        "over shuffled": [float(differences[:, 1].mean()), *interval(spread[:, 1])],
    }


def cell(value: Any) -> str:
    if isinstance(value, list):
        return f"{value[0]:+.4f} [{value[1]:+.4f}, {value[2]:+.4f}]"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True)
    parser.add_argument("--sample", type=Path)
    parser.add_argument("--corpus")
    parser.add_argument("--db")
    parser.add_argument("--cells", type=float, default=0.0)
    parser.add_argument("--heads", action="store_true", help="a line for each head, too")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    model = predict.load(asked.run)
    check(model)
    if "mlm" not in model.config.objectives:
        sys.exit(f"{asked.run}: it did not learn to name hidden words (mlm)")
    rendered = sorted(CACHE.glob("sample-*/truth.jsonl"), key=lambda path: path.stat().st_mtime)
    if not (asked.sample or rendered):
        sys.exit("no rendered sample in data/cache: make rgc renders it, or give --sample DIR")
    sample = asked.sample or rendered[-1].parent
    held_out = None
    if asked.corpus or asked.db:
        pairs = version(asked.corpus, asked.db).pairs
        held_out = {pair.upstream_name for pair in pairs if pair.split != "train"}
    rows = rows_of(sample, held_out)
    own, shuffled, boxes = measured(model, sample, rows)
    large = np.flatnonzero(boxes.sum(1) >= asked.cells)
    lines = list(table([rows[place] for place in large], own[large], shuffled[large], boxes[large], asked.heads))
    if asked.json:
        print(json.dumps({"run": asked.run, "grid": model.vlt.backbone.grid, "lines": lines}))
        return
    down, across = model.vlt.backbone.grid
    what = f"{len(large)} images with a box of {asked.cells:g} cells or more"
    print(f"{asked.run}: a grid of {down} x {across} over {model.config.image_size} pixels, {what}\n")
    print(f"| {' | '.join(lines[0])} |\n|{' --- |' * len(lines[0])}")
    for line in lines:
        print(f"| {' | '.join(map(cell, line.values()))} |", flush=True)


if __name__ == "__main__":
    main()
