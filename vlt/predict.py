"""A trained model in use: embeddings, captions and answers for anybody's images; and the one safe file it is kept in.

The file is safetensors (no code in it): the weights, and as its metadata the config and the vocabulary.
"""

import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialised
from torch import Tensor

from corpus_db.read import UserError, written
from corpus_db.read import image as read_image
from vlt import decode, runs
from vlt.config import Config
from vlt.decode import Sampling, Search
from vlt.model import VLT
from vlt.pack import letterbox
from vlt.text import Tokenizer

FILE = "model.safetensors"
AT_ONCE = 32  # images or texts of one pass
Picture = str | Path | Image.Image | np.ndarray


def save(model: VLT, tokenizer: Tokenizer, path: Path, answers: Sequence[str] = ()) -> None:
    """Write the weights, config, vocabulary and answers into one file, which is there whole or not at all."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    told = {"config": model.config.to_json(), "vocabulary": json.dumps(tokenizer.vocabulary), "format": "rgc-vlt 1"}
    told["sha256"] = _digest(weights)
    if answers:
        told["answers"] = json.dumps(list(answers))
    with _writing(path) as file:
        file.write(serialised(weights, told))


def _digest(weights: Mapping[str, Tensor]) -> str:
    """Of all weights, so that damage within a file of the right length is seen."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def load(run: str | Path, device: str | torch.device | None = None) -> "Model":
    """The model of a run, by its name, its folder, or the file itself. UserError for what is none."""
    path = file_of(run)
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    model, tokenizer, answers = _read(path)
    return Model(model.to(where), tokenizer, answers)


def file_of(run: str | Path) -> Path:
    """The file of a run's model, by its name, its folder, or the file itself; UserError before its training's end."""
    if Path(run).is_file():
        return Path(run)
    found = runs.open_run(run)
    if not (found.folder / FILE).is_file():
        raise UserError(f"{found.folder}: its training has not ended; go on with: {found.resume_command}")
    return found.folder / FILE


def weights_sha256(path: Path) -> str | None:
    """The hash of a model file's weights: as its writer told it, else made of them; None where no file can be read."""
    try:
        with safe_open(path, "pt") as file:
            told = (file.metadata() or {}).get("sha256")
            return told or _digest({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (OSError, SafetensorError):
        return None


def _read(path: Path) -> tuple[VLT, Tokenizer, list[str]]:
    """Of a file that anybody may have written: its tensors' shapes are checked before they take memory."""
    try:
        with safe_open(path, "pt") as file:
            told = file.metadata() or {}
            config = Config.from_json(told["config"])
            tokenizer = Tokenizer(json.loads(told["vocabulary"]))
            answers = [str(answer) for answer in json.loads(told.get("answers", "[]"))]
            sizes = len(tokenizer), tokenizer.pad, len(answers)
            with torch.device("meta"):  # shapes alone: a stranger's config takes no memory
                _check(VLT(config, *sizes), file)
            model = VLT(config, *sizes)  # again: buffers that no file holds get their values
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if told.get("sha256") not in (None, _digest(weights)):
                raise ValueError("its weights are damaged: not those that were written")
            model.load_state_dict(weights)
    except (OSError, KeyError, ValueError, TypeError, RecursionError, SafetensorError) as error:
        line = str(error).partition("\n")[0]
        raise UserError(f"{path}: not a model that `pretrain` or `save` wrote ({line[:120]})") from error
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return model.eval(), tokenizer, answers


def _check(model: VLT, file: Any) -> None:
    """UserError where the file's tensors are not those that its config makes."""
    wanted = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    given = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    if wanted != given:
        odd = sorted(name for name in wanted.keys() | given.keys() if wanted.get(name) != given.get(name))
        raise UserError(
            f"{len(odd)} tensors are not those of its config, the first {odd[0]!r:.90}: {given.get(odd[0])}"
        )


def _parts(items: Sequence) -> Iterator[Sequence]:
    return (items[first : first + AT_ONCE] for first in range(0, len(items), AT_ONCE))


class Model:
    """A VLT ready to use. Images are paths, Pillow images or arrays (uint8, (H, W) or (H, W, 3))."""

    def __init__(self, vlt: VLT, tokenizer: Tokenizer, answers: Sequence[str] = ()):
        self.vlt, self.tokenizer, self.config, self.answers = vlt, tokenizer, vlt.config, answers

    @property
    def device(self) -> torch.device:
        return self.vlt.places.device

    def save(self, path: str | Path) -> None:
        """Write it into one file, which `vlt.load` reads."""
        save(self.vlt, self.tokenizer, Path(path), self.answers)

    @torch.no_grad()
    def embed(self, images: Sequence[Picture] = (), texts: Sequence[str] = ()) -> dict[str, Tensor]:
        """Unit vectors "image" (n, D) and "text" (m, D), float32: comparable if the model learned itc."""
        vlt, found = self.vlt, {}
        if len(images):
            parts = [vlt.embed_image(self._image_tokens(part)) for part in _parts(images)]
            found["image"] = torch.cat(parts).float().cpu()
        if len(texts):
            parts = [vlt.embed_text(vlt.encode_text(*self.tokens(part))) for part in _parts(texts)]
            found["text"] = torch.cat(parts).float().cpu()
        return found

    @torch.no_grad()
    def caption(self, image: Picture, beams: int = 3, **options: Any) -> str:
        """A caption; `options` as `captions` takes them. UserError if the model learned no captioning (lm)."""
        return self.captions([image], beams, **options)[0]

    @torch.no_grad()
    def captions(
        self,
        images: Sequence[Picture],
        beams: int = 3,
        *,
        length_penalty: float = 1.0,
        no_repeat: int = 0,
        temperature: float | None = None,
        seed: int = 0,
    ) -> list[str]:
        """A caption of each image, searched for as `decode.Search` says; with a `temperature` drawn, by the seed."""
        if self.config.task == "vqa":
            raise UserError("this model answers questions: give one (--question), or caption with another run")
        sampling = None
        if temperature is not None:
            sampling = Sampling(temperature, generator=torch.Generator(self.device).manual_seed(seed))
        search = Search(beams, length_penalty, no_repeat, sampling)
        told: list[str] = []
        for part in _parts(images):
            told += self._continued(self._image_tokens(part), [[self.tokenizer.cls]] * len(part), search)
        return told

    @property
    def fills(self) -> bool:
        """Whether words hidden by [MASK] are what it answers best: it learned mlm, and no answers to choose from."""
        return "mlm" in self.config.objectives and self.config.task == "pretrain"

    @torch.no_grad()
    def answer(self, image: Picture, question: str, choices: Sequence[str] = ()) -> str:
        """An answer to a question about an image.

        Each [MASK] in the question is filled in with a word (a model that learned mlm); of `choices` the one is given
        that most likely follows the question; else a model that was fine-tuned to answer chooses among the answers of
        its training, and any other continues the question (this and `choices`: a model that learned lm).
        """
        seen = self._image_tokens([image])
        if "[MASK]" in question:
            return self._filled(seen, question)
        if self.answers and not choices:
            tokens, present = self.tokens([question])
            logits = self.vlt.answer_logits(self.vlt.encode_text(tokens, present), seen, present)
            return self.answers[int(logits[0].argmax())]
        ids = self.tokenizer.prompt(question, self.config.max_tokens)
        prompt = ids if self.config.task == "vqa" else ids[:-1]
        if choices:
            scores = [self._likelihood(seen, prompt, choice) for choice in choices]
            return choices[max(range(len(choices)), key=scores.__getitem__)]
        return self._continued(seen, [prompt], Search())[0]

    def _image_tokens(self, images: Sequence[Picture]) -> Tensor:
        pixels = torch.stack([torch.from_numpy(self.pixels(image)) for image in images])  # B, C, S, S
        return self.vlt.encode_image(pixels.to(self.device))

    def pixels(self, image: Picture) -> np.ndarray:
        """An image as the model sees it, uint8 (C, S, S), as `data.CorpusDataset` gives it."""
        if isinstance(image, Image.Image):
            file = io.BytesIO()
            image.save(file, "TIFF")  # lossless in every mode; read as a file is, deep and transparent ones too
            image = read_image(file)  # type: ignore[arg-type]
        elif not isinstance(image, np.ndarray):
            image = read_image(image)
        if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.shape[2:] not in ((), (3,)):
            raise UserError(f"image {image.dtype} {image.shape}: give uint8 of (H, W) or (H, W, 3)")
        boxed = letterbox(image, self.config.image_size)
        if boxed.ndim == 2:
            return np.repeat(boxed[None], self.config.channels, axis=0)
        if self.config.channels == 3:
            return boxed.transpose(2, 0, 1).copy()
        return (boxed @ np.array([0.299, 0.587, 0.114], np.float32)).round().astype(np.uint8)[None]

    def tokens(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Texts as the model reads them, int64 (B, L), and which of it is text and not padding, bool (B, L)."""
        encoded = self.tokenizer.encode_batch(texts, self.config.max_tokens)
        length = max(len(one.ids) for one in encoded)
        tokens = torch.tensor([one.ids + [self.tokenizer.pad] * (length - len(one.ids)) for one in encoded])
        return tokens.to(self.device), (tokens != self.tokenizer.pad).to(self.device)

    def with_masks(self, question: str) -> Tensor:
        """A question's tokens, int64 (1, L), each [MASK] of its text as the token; UserError where it is too long."""
        ids = [self.tokenizer.cls]
        for number, piece in enumerate(question.split("[MASK]")):
            ids += [self.tokenizer.mask] * bool(number) + self.tokenizer.encode(piece, self.config.max_tokens).ids[1:-1]
        if len(ids) >= self.config.max_tokens:
            raise UserError(f"the question has {len(ids)} tokens; this model reads {self.config.max_tokens - 1}")
        return torch.tensor([[*ids, self.tokenizer.sep]], device=self.device)

    def _needs(self, objective: str) -> None:
        if objective not in self.config.objectives:
            learned = ", ".join(self.config.objectives)
            raise UserError(
                f"this model learned {learned}; for this give pretrain --objectives ...,{objective}"
                + (" or finetune report" if objective == "lm" else "")
            )

    def _next_words(self, image: Tensor, ids: Tensor, first: int) -> Tensor:
        """Log-probabilities (B, L - first, V) of what follows each token of ids (B, L) from the `first` on."""
        present = torch.ones_like(ids, dtype=torch.bool)
        text = self.vlt.encode_text(ids, present, "seq2seq")
        fused = self.vlt.fuse(text, image.expand(len(ids), -1, -1), present, "seq2seq")
        return self.vlt.word_logits(fused.text[:, first:]).float().log_softmax(-1)

    def _continued(self, image: Tensor, prompts: list[list[int]], search: Search) -> list[str]:
        """What follows a prompt, for each of the images whose tokens are given (B, N, width)."""
        self._needs("lm")
        return [text for text, _ in decode.texts(self.vlt, self.tokenizer, image, prompts, search)]

    def _likelihood(self, image: Tensor, prompt: list[int], choice: str) -> float:
        """The mean log-probability of a choice's tokens after the prompt."""
        self._needs("lm")
        follows = self.tokenizer.encode(choice, self.config.max_tokens).ids[1:-1]
        whole = [*prompt, *follows][: self.config.max_tokens]
        asked = whole[len(prompt) :]
        if not asked:
            raise UserError(f"{choice!r}: nothing of it fits behind the question in {self.config.max_tokens} tokens")
        told = self._next_words(image, torch.tensor([whole[:-1]], device=self.device), len(prompt) - 1)[0]
        return float(told.gather(1, torch.tensor(asked, device=self.device)[:, None]).mean())

    def _filled(self, image: Tensor, question: str) -> str:
        self._needs("mlm")
        tokens = self.with_masks(question)
        present = torch.ones_like(tokens, dtype=torch.bool)
        mask = self.config.mask
        fused = self.vlt.fuse(self.vlt.encode_text(tokens, present, mask), image, present, mask)
        logits = self.vlt.word_logits(fused.text)[0]
        whole = [number for number in self.tokenizer.plain if not self.tokenizer.vocabulary[number].startswith("##")]
        hidden = tokens[0] == self.tokenizer.mask
        return self.tokenizer.decode(whole[best] for best in logits[hidden][:, whole].argmax(1).tolist())


def write_array(array: np.ndarray, path: Path) -> None:
    """Write a NumPy file, whole or not at all."""
    with _writing(path) as file:
        np.save(file, array)


@contextmanager
def _writing(path: Path) -> Iterator[IO[bytes]]:
    """`written`, whose troubles are told in one line that names the file."""
    try:
        with written(path) as file:
            yield file
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from error
