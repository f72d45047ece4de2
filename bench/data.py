"""How fast batches come from a pack, beside what the nano model takes of them, and what memory a larger corpus costs.

    python bench/data.py [PAIRS ...]    # 1,000, 10,000 and 100,000 by default, the last on 2 GB of scratch disk

Corpora of noise with 64 x 64 pixels, nine in ten images grey, each in a process of its own. A batch is all that the
loop's thread makes: sliced pixels, tokens, hidden words and every other draw, of 64 pairs, half of them in hard groups.
The peer decodes and letterboxes each image when it is wanted, from JPEG files of 512 x 512. Memory is the process's
own (RssAnon): the pack's pages are the system's, which takes them back when it needs room. All rates are of one core,
by processor time, so that other work on the machine does not count. Linux only.
"""

import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from PIL import Image

from corpus_db.read import Pair, Version
from corpus_db.read import image as read_image
from vlt.pack import COLOUR, GREY, Pack, letterbox

SIZE, BATCHES, STEPS = 64, 200, 4
FINDINGS = ("mass", "cyst", "fracture", "hemorrhage", "calcification", "effusion")
PLACES = ("left frontal lobe", "right kidney", "liver", "left lung", "right knee", "spleen", "pelvis")


def pairs(count: int) -> tuple[Pair, ...]:
    """Pairs of a corpus with two images a case, of 24 kinds."""
    found = []
    for number in range(count):
        finding, place = FINDINGS[number % len(FINDINGS)], PLACES[number % len(PLACES)]
        caption = f"Axial CT image shows a {finding} of {number % 40} mm in the {place}, surrounded by edema. No other."
        labels = (("CT", "MR", "US", "XR")[number % 4], ("axial", "sagittal")[number // 4 % 2], "head", None)
        sha256 = hashlib.sha256(str(number).encode()).hexdigest()
        path = f"/data/images/{sha256[:2]}/{sha256[2:4]}/{sha256}.png"
        names = (f"medpix:c{number // 2}", sha256[:16], sha256[:16], "medpix", str(number), f"synpic{number}")
        found.append(Pair(f"medpix:{number:07}", path, sha256, caption, *labels, "train", *names))
    return tuple(found)


def noise(folder: Path, kept: tuple[Pair, ...]) -> Pack:
    """A pack of noise for these pairs, every tenth image of colour; its pixels stand on the disk."""
    where = {
        pair.sha256: (COLOUR, number // 10) if number % 10 == 9 else (GREY, number - number // 10)
        for number, pair in enumerate(kept)
    }
    shapes = {"grey": (len(kept) - len(kept) // 10, SIZE, SIZE), "colour": (len(kept) // 10, SIZE, SIZE, 3)}
    arrays = []
    for name, shape in shapes.items():
        array = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.uint8, shape)
        block = np.random.default_rng(1).integers(0, 256, (1000, *shape[1:]), dtype=np.uint8)
        for first in range(0, len(array), 1000):
            array[first : first + 1000] = block[: len(array) - first]
        array.flush()
        del array
        arrays.append(np.load(folder / f"{name}.npy", mmap_mode="r"))
    return Pack(folder, *arrays, where, {})


def private_mib() -> float:
    """The memory of this process that no file stands behind."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0]) / 1024


def measured(count: int, with_model: bool) -> dict[str, float]:
    """One corpus: images/s of its batches and of the model, MiB of its rows and what making batches added to them."""
    import torch

    from vlt.config import Config
    from vlt.data import Batches, CorpusDataset
    from vlt.objectives import draw
    from vlt.text import Tokenizer

    torch.set_num_threads(1)
    config = Config()
    with tempfile.TemporaryDirectory() as name:
        kept = pairs(min(count, 1000))
        tokenizer = Tokenizer.train([pair.caption for pair in kept], config.vocab_size)
        before = private_mib()
        kept = pairs(count)
        pack = noise(Path(name), kept)
        data = CorpusDataset(Version("noise", "", "", kept), pack, tokenizer, "train")
        del pack
        rows = private_mib() - before
        stream = Batches(
            [(data, 1.0)],
            config.batch_size,
            1,
            lambda batch, generator, number: draw(batch, config, tokenizer, generator, 0.0),
            hard=config.hard_batches,
        )
        stream.batch(0)
        before, seconds = private_mib(), []
        for number in range(1, BATCHES + 1):
            began = time.process_time()
            stream.batch(number)
            seconds.append(time.process_time() - began)
        grown = private_mib() - before
        made = config.batch_size / statistics.median(seconds)
        model = model_rate(stream, tokenizer) if with_model else 0.0
        return {"batches": made, "rows": rows, "grown": grown, "model": model}


def model_rate(stream: Any, tokenizer: Any) -> float:
    """Images/s that training steps of the nano model take on one core in fp32, its batch at hand."""
    import torch

    from vlt.config import Config
    from vlt.model import VLT
    from vlt.objectives import Objectives
    from vlt.optim import optimiser

    config = Config()
    model = VLT(config, len(tokenizer), tokenizer.pad)
    objectives, optimizer = Objectives(model, config), optimiser(model, config)
    (batch,) = stream.batch(0)
    seconds = []
    for _ in range(STEPS):
        began = time.process_time()
        torch.stack([outcome.loss for outcome in objectives(batch).values()]).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.process_time() - began)
    return config.batch_size / statistics.median(seconds[1:])


def peer_rate() -> float:
    """Images/s of decoding and letterboxing on one core."""
    smooth = Image.fromarray(np.random.default_rng(1).integers(0, 256, (32, 32), dtype=np.uint8)).resize((512, 512))
    with tempfile.TemporaryDirectory() as name:
        paths = [Path(name) / f"{number}.jpg" for number in range(64)]
        for path in paths:
            smooth.save(path, quality=90)
        seconds = []
        for _ in range(5):
            began = time.process_time()
            for path in paths:
                letterbox(read_image(path), SIZE)
            seconds.append(time.process_time() - began)
    return len(paths) / statistics.median(seconds)


def main(counts: list[int]) -> None:
    print(f"{'pairs':>8}{'from the pack':>16}{'rows':>12}{'of a pair':>12}{'after 200 batches':>20}")
    rates = []
    for count in counts:
        program = [sys.executable, __file__, "--one", str(count), *(["--model"] if not rates else [])]
        found = json.loads(subprocess.run(program, stdout=subprocess.PIPE, text=True, check=True).stdout)
        rates.append((found["batches"], found["model"]))
        print(
            f"{count:>8}{found['batches']:>12.0f} i/s{found['rows']:>8.0f} MiB{found['rows'] * 2**20 / count:>10.0f} B"
            f"{found['grown']:>+16.1f} MiB",
            flush=True,
        )
    slowest, model = min(rate for rate, _ in rates), rates[0][1]
    cores = os.cpu_count() or 1
    print(
        f"the nano model takes {model:.0f} images/s of a core, at most {model * cores:.0f} of {cores}: "
        f"the slowest of these makes {slowest / model / cores:.0f} times that"
    )
    print(f"peer, decoding when wanted: {peer_rate():.0f} images/s")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measured(int(sys.argv[2]), "--model" in sys.argv)))
    else:
        main([int(argument) for argument in sys.argv[1:]] or [1_000, 10_000, 100_000])
