"""Where a model looked for what it said: its words' attention over the image, as numbers and as pictures.

The fused kernel gives no weights, so hooks compute them again from what each attention of the fusion was given; the
model's own path is not changed. A map shows the last layer, the mean of its heads: the one that the heads of the model
read. It tells where was looked, not why: a classified answer also reads the mean image token, which no map shows, and a
token's own place is blurred by what the backbone (and a merged fusion) mixed into it before.
"""

import json
import shutil
import textwrap
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from corpus_db.read import UserError, written
from vlt.attention import Attention, Cache
from vlt.model import VLT, CrossFusion
from vlt.predict import Model
from vlt.tasks.questions import QuestionDataset
from vlt.tasks.vqa import Answered
from vlt.text import Tokenizer

COARSE = 4  # cells a side, by which nothing is located
SIZE_INCHES, DPI = (9.0, 5.4), 100
LINE, LINES, LONGEST = 108, 3, 1000  # characters of a line, lines of a text, characters that are looked at


class Map(NamedTuple):
    """Where some words looked in one image."""

    weights: np.ndarray  # float32 (rows, columns) of the backbone's grid, sums to 1
    mass: float  # the share of the words' attention that went to the image: 1 in cross fusion, in merged less


class Reread(NamedTuple):
    """Texts as a model reads them again, to see where it looks."""

    tokens: Tensor  # int64 (B, L), padded
    asked: Tensor  # bool (B, L): whose rows make the map
    mask: str


def weights(attention: Attention, x: Tensor, memory: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
    """softmax(q k^T / sqrt(d) + mask) (arXiv 1706.03762) of what `Attention` takes: float32 (B, heads, L, M).

    Without dropout; `mask` bool, True where may be attended.
    """
    read, width = x if memory is None else memory, attention.width
    q = F.linear(x, attention.qkv.weight[:width], attention.qkv.bias[:width])
    k = F.linear(read, attention.qkv.weight[width : 2 * width], attention.qkv.bias[width : 2 * width])
    q, k = (part.unflatten(2, (attention.heads, -1)).transpose(1, 2).float() for part in (q, k))  # B, heads, ., d
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(2, 3)
    return (scores if mask is None else scores.masked_fill(~mask, -torch.inf)).softmax(-1)


@contextmanager
def watched(model: VLT) -> Iterator[list[Tensor]]:
    """Collects the weights, (B, heads, L, M), of each attention over image tokens while the model fuses, in order.

    In a merged fusion L and M are the whole stream's. The hooks are gone at the end, whatever happens.
    """
    fusion, found, handles = model.fusion, [], []
    parts = fusion.text if isinstance(fusion, CrossFusion) else fusion.layers

    def look(attention: Any, given: tuple, named: dict) -> None:
        found.append(_weighed(attention, *given, **named))

    try:
        for part in parts:
            handles.append(part.get_submodule("attention").register_forward_pre_hook(look, with_kwargs=True))
        yield found
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def _weighed(
    attention: Attention,
    x: Tensor,
    memory: Tensor | None = None,
    mask: Tensor | None = None,
    cache: Cache | None = None,
) -> Tensor:
    if cache is not None:
        raise ValueError("attention is watched in whole passes alone, not from step to step")
    return weights(attention, x, memory, mask)


@torch.no_grad()
def maps(model: VLT, image: Tensor, text: Tensor, present: Tensor, mask: str = "bidirectional") -> Tensor:
    """Attention of each word over the image tokens in each layer and head, float32 (B, layers, heads, L, N).

    Takes what `VLT.fuse` takes. In cross fusion each row sums to 1; in merged it sums to the share that goes to the
    image, the rest of it goes to words.
    """
    with watched(model) as found:
        model.fuse(text, image, present, mask)
    length, count = text.shape[1], image.shape[1]
    return torch.stack(found, dim=1)[..., -length:, :count]  # a merged stream begins with the image


@torch.no_grad()
def of_texts(model: VLT, image: Tensor, texts: Reread) -> list[Map]:
    """The map of each of B images, tokens (B, N, width): last layer, mean of its heads and of the asked rows."""
    rows, columns = model.backbone.grid
    if image.shape[1] != rows * columns:
        raise ValueError(f"{image.shape[1]} image tokens of a grid of {rows} x {columns}: is the model training?")
    present = texts.tokens != model.vocabulary[1]
    text = model.encode_text(texts.tokens, present, texts.mask)
    last = maps(model, image, text, present, texts.mask)[:, -1].mean(1)  # B, L, N
    asked = texts.asked[..., None].to(last)
    mean = (last * asked).sum(1) / asked.sum(1)  # B, N
    mass = mean.sum(1)
    shares = (mean / mass[:, None].clamp_min(torch.finfo(mass.dtype).tiny)).unflatten(1, (rows, columns)).cpu().numpy()
    return [Map(share, float(whole)) for share, whole in zip(shares, mass, strict=True)]


def written_behind(prompts: Sequence[list[int]], said: Sequence[str], tokenizer: Tokenizer, max_tokens: int) -> Reread:
    """What was written behind prompts: the rows that named its tokens, each one place before its token."""
    texts = [
        [*before, *tokenizer.encode(text, max_tokens).ids[1:-1]][:max_tokens]
        for before, text in zip(prompts, said, strict=True)
    ]
    tokens = torch.full((len(texts), max(map(len, texts))), tokenizer.pad)
    asked = torch.zeros_like(tokens, dtype=torch.bool)
    for row, (before, text) in enumerate(zip(prompts, texts, strict=True)):
        tokens[row, : len(text)] = torch.tensor(text)
        asked[row, len(before) - 1 : max(len(text) - 1, len(before))] = True  # of an empty text: what ended it
    return Reread(tokens, asked, "seq2seq")


def classified(tokens: Tensor) -> Reread:
    """Questions (B, L) whose answers were chosen: the row of [CLS], which the classifier reads."""
    asked = torch.zeros_like(tokens, dtype=torch.bool)
    asked[:, 0] = True
    return Reread(tokens, asked, "bidirectional")


def of_answers(
    model: Model, asked: QuestionDataset, rows: Sequence[int], found: Sequence[Answered]
) -> list[tuple[np.ndarray, Map]]:
    """The pixels, uint8 (C, S, S), and the map of what was answered to some rows of a set of questions."""
    batch = asked.batch(np.asarray(rows)).to(model.device)
    if "answer" in model.config.objectives:
        texts = classified(batch.tokens)
    else:
        longest = model.config.max_tokens
        prompts = [model.tokenizer.prompt(asked.questions[row].question, longest) for row in rows]
        texts = written_behind(prompts, [found[row].output for row in rows], model.tokenizer, longest)
    seen = of_texts(model.vlt, _encoded(model, batch.images), _on(texts, model.device))
    return list(zip(batch.images.cpu().numpy(), seen, strict=True))


def of_prediction(
    model: Model, picture: np.ndarray, said: str, question: str | None = None, choices: Sequence[str] = ()
) -> tuple[np.ndarray, Map]:
    """The pixels, uint8 (C, S, S), and the map of what `Model.caption` or `Model.answer` said."""
    pixels = torch.from_numpy(model.pixels(picture))[None].to(model.device)
    texts = _captioned(model, said) if question is None else _answered(model, said, question, bool(choices))
    return pixels[0].cpu().numpy(), of_texts(model.vlt, _encoded(model, pixels), _on(texts, model.device))[0]


def _captioned(model: Model, said: str) -> Reread:
    return written_behind([[model.tokenizer.cls]], [said], model.tokenizer, model.config.max_tokens)


def _answered(model: Model, said: str, question: str, likeliest: bool) -> Reread:
    """By the way that `Model.answer` takes; `likeliest`: of some choices."""
    names, longest = model.tokenizer, model.config.max_tokens
    if "[MASK]" in question:
        tokens = model.with_masks(question)
        return Reread(tokens, tokens == names.mask, model.config.mask)
    if model.answers and not likeliest:
        return classified(model.tokens([question])[0])
    ids = names.prompt(question, longest)
    return written_behind([ids if model.config.task == "vqa" else ids[:-1]], [said], names, longest)


@torch.no_grad()
def _encoded(model: Model, pixels: Tensor) -> Tensor:
    check(model)
    return model.vlt.encode_image(pixels)


def check(model: Model) -> None:
    """UserError for a model without maps."""
    if model.config.blind:
        raise UserError("this model sees no image (it was trained with --blind): it has no map")


def _on(texts: Reread, device: torch.device) -> Reread:
    return Reread(texts.tokens.to(device), texts.asked.to(device), texts.mask)


def keep(
    folder: Path, model: Model, asked: QuestionDataset, found: Sequence[Answered], count: int
) -> tuple[Path, list[str]]:
    """Draw the surest right answers and the surest wrong ones, half of `count` each, into the folder's maps/.

    index.jsonl there has a line for each: its file, the share of attention on the image, the answer. What an earlier
    evaluation drew is removed. Returns the folder and the names of the files.
    """
    sure = sorted(range(len(found)), key=lambda row: -found[row].score)
    right, wrong = ([row for row in sure if found[row].right is kind] for kind in (True, False))
    chosen = [*right[: count - count // 2], *wrong[: count // 2]]
    folder = folder / "maps"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    index: list[dict[str, Any]] = []
    for row in chosen:
        ((pixels, seen),) = of_answers(model, asked, [row], found)
        one = found[row]
        kind = "right" if one.right else "wrong"
        name = f"{kind}-{sum(line['right'] is one.right for line in index) + 1:03}.png"
        told = {"question": one.question, "truth": one.truth, "output": f"{one.output} ({kind}, {one.score:.3f})"}
        draw(folder / name, pixels, seen, captioned(told))
        index.append({"file": name, "grid": list(seen.weights.shape), "mass": round(seen.mass, 4), **one.line()})
    with written(folder / "index.jsonl") as file:
        file.write("".join(json.dumps(line) + "\n" for line in index).encode())
    return folder, [str(line["file"]) for line in index]


def draw_prediction(
    path: Path, model: Model, picture: np.ndarray, said: str, question: str | None = None, choices: Sequence[str] = ()
) -> None:
    """Draw where a model looked for its caption of an image, or for its answer to a question; UserError as `draw`."""
    pixels, seen = of_prediction(model, picture, said, question, choices)
    told = {"caption": said} if question is None else {"question": question, "answer": said}
    draw(path, pixels, seen, captioned(told))


def captioned(told: dict[str, str]) -> list[str]:
    """Names and texts of strangers as lines to draw: no control characters, each text wrapped and cut."""
    lines = []
    for name, text in told.items():
        wrapper = textwrap.TextWrapper(LINE, max_lines=LINES, placeholder=" …", subsequent_indent=" " * (len(name) + 2))
        lines += wrapper.wrap(f"{name}: {_plain(text)}")
    return lines


def _plain(text: str) -> str:
    """In one line, without what is no character to draw: controls, marks of direction, lone surrogates."""
    kept = (" " if unicodedata.category(letter)[0] in "CZ" else letter for letter in text[:LONGEST])
    return " ".join("".join(kept).split()) + (" …" if len(text) > LONGEST else "")


def draw(path: Path, pixels: np.ndarray, seen: Map, lines: Sequence[str]) -> None:
    """A PNG of 900 x 540: the image as the model saw it, uint8 (C, S, S), beside itself under the map; lines below.

    Cells are drawn as cells, so that a coarse grid is not taken for a fine map. The file is there whole or not at all;
    UserError where it cannot be written.
    """
    import matplotlib.figure

    rows, columns = seen.weights.shape
    size = pixels.shape[1:]
    shown = np.broadcast_to(pixels, (3, *size)).transpose(1, 2, 0)
    figure = matplotlib.figure.Figure(figsize=SIZE_INCHES, dpi=DPI)
    left, right = (figure.add_axes((start, 0.33, 0.35, 0.57)) for start in (0.06, 0.5))
    for axes, title in ((left, "as the model saw it"), (right, "where it looked")):
        axes.imshow(shown, extent=(0, size[1], size[0], 0))
        axes.set_title(title, fontsize=9)
        axes.set_axis_off()
    over = right.imshow(
        seen.weights, "inferno", alpha=0.55, vmin=0, interpolation="nearest", extent=(0, size[1], size[0], 0)
    )
    scale = figure.colorbar(over, cax=figure.add_axes((0.87, 0.33, 0.02, 0.57)))
    scale.set_label(f"share of a cell; all equal: {1 / (rows * columns):.4f}", fontsize=8)
    scale.ax.tick_params(labelsize=8)
    coarse = ", too coarse to locate anything" if max(rows, columns) <= COARSE else ""
    title = f"{rows} x {columns} grid{coarse}; last layer, mean of its heads; {seen.mass:.0%} of it on the image"
    figure.text(0.5, 0.95, title, ha="center", fontsize=10)
    figure.text(0.03, 0.27, "\n".join(lines), va="top", fontsize=8.5, family="monospace", parse_math=False)
    try:
        with written(path) as file, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from")  # a box stands for it; the index has the text
            figure.savefig(file, format="png", dpi=DPI)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from error
