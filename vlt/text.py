"""Words: a WordPiece vocabulary by `tokenizers`, and the text encoder, laid out as BERT's so that its weights load."""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer as Engine
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor, nn

from corpus_db.read import UserError
from vlt.attention import MLP, Attention, Cache, initialise

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
ANSWER_ROOM = 8  # tokens, behind a question
LONGEST_VOCABULARY = 1_000_000  # tokens
LARGEST_VOCABULARY = 64 << 20  # bytes of a file
LONGEST_TEXT = 100_000  # characters that are looked at; a caption's 80 tokens end far before


class Encoded(NamedTuple):
    """A text as tokens: `words` numbers the word that each belongs to, -1 for [CLS] and [SEP]."""

    ids: list[int]
    words: list[int]


class Tokenizer:
    """WordPiece over lower-cased words, as BERT's, of a vocabulary in the order of its numbers."""

    def __init__(self, vocabulary: Sequence[str]):
        self.vocabulary = tuple(vocabulary)
        if len(self.vocabulary) > LONGEST_VOCABULARY:
            raise UserError(f"vocabulary: {len(self.vocabulary)} tokens; at most {LONGEST_VOCABULARY} are read")
        numbers = {token: number for number, token in enumerate(self.vocabulary)}
        if missing := [token for token in SPECIALS if token not in numbers]:
            raise UserError(f"vocabulary: no {', '.join(missing)}; give a BERT vocab.txt")
        if len(numbers) != len(self.vocabulary):
            raise UserError(f"vocabulary: {len(self.vocabulary) - len(numbers)} tokens stand in it twice")
        self.pad, self.unk, self.cls, self.sep, self.mask = (numbers[token] for token in SPECIALS)
        self._engine = _engine(models.WordPiece(numbers, unk_token="[UNK]", max_input_chars_per_word=100))

    @classmethod
    def train(cls, captions: Iterable[str], size: int) -> "Tokenizer":
        """The vocabulary of some captions, whatever their order: at most `size` tokens, unless its letters are more."""
        captions = [_storable(caption) for caption in captions]
        letters = sorted({letter for caption in captions for word in _split(caption) for letter in word})
        # The trainer breaks ties by token numbers and numbers letters in the order of a hash map: number them first.
        first = [*SPECIALS, *letters, *(f"##{letter}" for letter in letters)]
        trainer = trainers.WordPieceTrainer(vocab_size=max(size, len(first)), special_tokens=first, show_progress=False)
        engine = _engine(models.WordPiece(unk_token="[UNK]"))
        engine.train_from_iterator(captions, trainer)
        numbers = engine.get_vocab()
        return cls(sorted(numbers, key=numbers.__getitem__))

    @classmethod
    def read(cls, path: Path) -> "Tokenizer":
        """A `vocab.txt`: one token a line, its number the line's. UserError names the file."""
        try:
            if path.stat().st_size > LARGEST_VOCABULARY:
                raise UserError(f"{path.stat().st_size:,} bytes; a vocabulary has at most {LARGEST_VOCABULARY:,}")
            # not splitlines: rare tokens are themselves what Unicode calls line breaks
            return cls(path.read_text(encoding="utf-8").removesuffix("\n").split("\n"))
        except UnicodeDecodeError as error:
            raise UserError(f"{path}: not a vocabulary, which is UTF-8 text ({error.reason})") from error
        except OSError as error:
            raise UserError(f"{path}: cannot be read as a vocabulary ({error.strerror})") from error
        except UserError as error:
            raise UserError(f"{path}: {error}") from error

    def text(self) -> str:
        """The vocabulary as `vocab.txt` holds it."""
        return "".join(f"{token}\n" for token in self.vocabulary)

    def __len__(self) -> int:
        return len(self.vocabulary)

    @cached_property
    def sha256(self) -> str:
        """Of the vocabulary: equal hashes, equal tokens for every text."""
        return hashlib.sha256(self.text().encode()).hexdigest()

    def prompt(self, question: str, max_tokens: int) -> list[int]:
        """[CLS] question [SEP], cut so that an answer of a few words has room behind it."""
        ids = self.encode(question, max_tokens).ids
        return ids if len(ids) <= max_tokens - ANSWER_ROOM else [*ids[: max_tokens - ANSWER_ROOM - 1], ids[-1]]

    @property
    def silent(self) -> list[int]:
        """The tokens that are never said: all specials but [SEP], which ends a text."""
        return [self.pad, self.cls, self.mask, self.unk]

    @cached_property
    def plain(self) -> np.ndarray:
        """The numbers of all tokens that are no specials, int64."""
        specials = {self.pad, self.unk, self.cls, self.sep, self.mask}
        return np.array([number for number in range(len(self)) if number not in specials], dtype=np.int64)

    def encode(self, text: str, max_tokens: int) -> Encoded:
        """[CLS] text [SEP], cut to `max_tokens`; any string is accepted."""
        return self.encode_batch([text], max_tokens)[0]

    def encode_batch(self, texts: Sequence[str], max_tokens: int) -> list[Encoded]:
        """`encode` of each text, on all cores."""
        found = self._engine.encode_batch([_storable(text) for text in texts], add_special_tokens=False)
        return [
            Encoded(
                [self.cls, *one.ids[: max_tokens - 2], self.sep],
                [-1, *(-1 if word is None else word for word in one.word_ids[: max_tokens - 2]), -1],
            )
            for one in found
        ]

    def word_strings(self, text: str) -> list[str]:
        """The words that `Encoded.words` numbers, lower-cased; punctuation stands alone."""
        return _split(_storable(text))

    def decode(self, ids: Iterable[int]) -> str:
        """Tokens as text without specials: lower case, punctuation where a reader expects it."""
        pieces = [self.vocabulary[number] for number in ids if number not in (self.pad, self.cls, self.sep)]
        words: list[str] = []
        for piece in pieces:
            if piece.startswith("##") and words:
                words[-1] += piece[2:]
            else:
                words.append(piece.removeprefix("##"))
        return _joined(words)


_NORMAL = normalizers.BertNormalizer(lowercase=True)
_PRE = pre_tokenizers.BertPreTokenizer()
_CLOSING, _OPENING = set(".,;:!?)]}%"), set("([{")
_TIGHT = set("-/'")  # no space on either side


def _joined(words: Sequence[str]) -> str:
    """Words with spaces between, none before closing punctuation, after opening, round hyphens or inside a number."""
    text = ""
    for before, word in zip(["", *words], words, strict=False):
        tight = word in _CLOSING or before in _OPENING or word in _TIGHT or before in _TIGHT
        # "1", ".", "8" was 1.8, and "1", ",", "200" was 1,200; but "1", ",", "2" was a list
        point = before == "." or (before == "," and len(word) == 3)
        inside = point and word.isdigit() and text[-2:-1].isdigit()
        text += word if not text or tight or inside else f" {word}"
    return text


def _split(text: str) -> list[str]:
    return [word for word, _ in _PRE.pre_tokenize_str(_NORMAL.normalize_str(text))]


def _storable(text: str) -> str:
    """What the engine can take: no lone surrogates, no more than LONGEST_TEXT characters."""
    return text[:LONGEST_TEXT].encode("utf-8", "replace").decode("utf-8")


def _engine(model: models.Model) -> Engine:
    engine = Engine(model)
    engine.normalizer, engine.pre_tokenizer = _NORMAL, _PRE
    engine.decoder = decoders.WordPiece()
    return engine


class TextLayer(nn.Module):
    """A Transformer encoder layer with the norm after each addition, as BERT has it (arXiv 1810.04805)."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.attention = Attention(width, heads, dropout)
        self.norm_attention = nn.LayerNorm(width, eps=1e-12)
        self.mlp = MLP(width, 4 * width)
        self.norm_mlp = nn.LayerNorm(width, eps=1e-12)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None, cache: Cache | None = None) -> Tensor:
        """(B, L, width) -> (B, L, width); `mask` and `cache` as `Attention` takes them."""
        x = self.norm_attention(x + self.drop(self.attention(x, mask=mask, cache=cache)))
        return self.norm_mlp(x + self.drop(self.mlp(x)))


class TextEncoder(nn.Module):
    """Embeddings of tokens and places, normalised, then 0 or more layers."""

    def __init__(self, vocab_size: int, width: int, heads: int, layers: int, max_tokens: int, dropout: float, pad: int):
        super().__init__()
        self.heads = heads
        self.tokens = nn.Embedding(vocab_size, width, padding_idx=pad)
        self.places = nn.Embedding(max_tokens, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.drop = nn.Dropout(dropout)
        self.layers = nn.ModuleList(TextLayer(width, heads, dropout) for _ in range(layers))
        initialise(self)
        for table in (self.tokens, self.places):
            nn.init.trunc_normal_(table.weight, std=0.02)
        nn.init.zeros_(self.tokens.weight[pad].data)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """tokens (B, L) int64; mask bool, True where a row may attend, over (B, 1, L, L) -> (B, L, width)."""
        length = tokens.shape[1]
        if length > self.places.num_embeddings:
            raise ValueError(f"{length} tokens where there are places for {self.places.num_embeddings}")
        x = self.drop(self.norm(self.tokens(tokens) + self.places.weight[:length]))
        for layer in self.layers:
            x = layer(x, mask)
        return x

    def follow(self, tokens: Tensor, places: Tensor, mask: Tensor, cache: Cache) -> Tensor:
        """`forward` of the next tokens (R, L) after those that `cache` keeps, at `places` (R, L) -> (R, L, width)."""
        x = self.drop(self.norm(self.tokens(tokens) + self.places(places)))
        for layer in self.layers:
            x = layer(x, mask, cache)
        return x


_BERT = {  # our names and BERT's
    "tokens": "embeddings.word_embeddings",
    "places": "embeddings.position_embeddings",
    "norm": "embeddings.LayerNorm",
    "attention.out": "attention.output.dense",
    "norm_attention": "attention.output.LayerNorm",
    "mlp.0": "intermediate.dense",
    "mlp.3": "output.dense",
    "norm_mlp": "output.LayerNorm",
}
_SEGMENTS = "embeddings.token_type_embeddings.weight"
_ADVICE = "give other weights, or --set width=, heads=, max_tokens= as theirs"


def load_bert(encoder: TextEncoder, folder: Path) -> None:
    """Load BERT's weights from a folder with model.safetensors or pytorch_model.bin: as many layers as there are here.

    Of a longer table of places the first rows are taken; the embedding of the first segment, which all our tokens are
    in, is added to the words' places. Raises UserError naming the file and what is missing or has another shape; also
    where a config.json beside it tells of other heads or another activation, which no shape shows.
    """
    path, state = _read_weights(folder)
    _check_form(folder / "config.json", encoder)
    found = {}
    for name, tensor in encoder.state_dict().items():
        theirs = _bert_names(name)
        shape = [len(tensor) // len(theirs), *tensor.shape[1:]]
        parts = [_fitting(path, state, one, shape, longer=name == "places.weight") for one in theirs]
        found[name] = torch.cat(parts)
    found["places.weight"] += _fitting(path, state, _SEGMENTS, [1, encoder.places.embedding_dim], longer=True)
    encoder.load_state_dict(found)


def _bert_names(name: str) -> list[str]:
    """BERT's name for one of our tensors; three for the joined q, k and v."""
    layer, stem, leaf = re.fullmatch(r"(layers\.\d+\.)?(.+)\.(\w+)", name).groups("")  # type: ignore[union-attr]
    layer = layer.replace("layers", "encoder.layer")
    if stem == "attention.qkv":
        return [f"{layer}attention.self.{part}.{leaf}" for part in ("query", "key", "value")]
    return [f"{layer}{_BERT[stem]}.{leaf}"]


def _fitting(path: Path, state: dict[str, Tensor], name: str, shape: list[int], longer: bool) -> Tensor:
    """The tensor of that name, in float32, if it has the shape; with `longer`, the first rows of one with more."""
    if name not in state:
        raise UserError(f"{path}: no {name}; is it of another kind of model, or of fewer layers?")
    given = state[name]
    cut = given[: shape[0]] if longer and given.ndim else given
    if list(cut.shape) != shape or not given.is_floating_point():
        raise UserError(
            f"{path}: {name} is {given.dtype} {list(given.shape)} where this model has float {shape}; {_ADVICE}"
        )
    return cut.float()


def _check_form(path: Path, encoder: TextEncoder) -> None:
    if not path.is_file() or not len(encoder.layers):
        return
    try:
        told = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as a model's settings ({str(error)[:120]})") from error
    for name, mine in (("num_attention_heads", encoder.heads), ("hidden_act", "gelu")):
        if told.get(name, mine) != mine:
            raise UserError(f"{path}: {name} is {str(told[name])[:40]} where this model has {mine}; {_ADVICE}")


def _plain_name(name: str) -> str:
    """BERT's name without what some files put before it, and with today's words for a norm's weights."""
    name = name.removeprefix("bert.")
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")


def _read_weights(folder: Path) -> tuple[Path, dict[str, Tensor]]:
    """The weights of a folder by BERT's plain names, read without running anything in them."""
    for path, read in (
        (folder / "model.safetensors", load_file),
        (folder / "pytorch_model.bin", lambda path: torch.load(path, map_location="cpu", weights_only=True)),
    ):
        if path.is_file():
            try:
                state = read(path)
            except Exception as error:  # whatever a stranger's file makes of its reader
                line = str(error).strip().partition("\n")[0]
                raise UserError(f"{path}: cannot be read as weights ({line[:120]})") from error
            if not isinstance(state, dict) or not all(map(_is_weight, state.keys(), state.values())):
                raise UserError(f"{path}: not a state_dict, which maps names to tensors")
            return path, {_plain_name(name): tensor for name, tensor in state.items()}
    raise UserError(f"{folder}: neither model.safetensors nor pytorch_model.bin is in it")


def _is_weight(name: object, value: object) -> bool:
    if not isinstance(name, str) or not isinstance(value, Tensor):
        return False
    return value.layout == torch.strided and value.device.type == "cpu" and not value.is_quantized
