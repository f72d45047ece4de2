"""The captions of a data set as token arrays, made once, kept beside the pack and memory-mapped."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from corpus_db.read import written
from vlt.text import Tokenizer
from vlt.words import FORM, classify, signature

CHUNK = 1_000  # captions that are encoded at once


class Captions(NamedTuple):
    """M captions behind each other."""

    tokens: np.ndarray  # int32 (3, T): token, number of its word (-1 for specials), words.WordClass of the word
    offsets: np.ndarray  # int64 (M + 1,): caption i is tokens[:, offsets[i] : offsets[i + 1]]
    signatures: np.ndarray  # int64 (M,): equal numbers, equal words.signature


def fingerprint(told: str) -> int:
    """A number that stands for a string, the same anywhere: 63 bits of its hash."""
    return int.from_bytes(hashlib.blake2b(told.encode("utf-8", "replace"), digest_size=8).digest()) >> 1


def captions(folder: Path, texts: Sequence[str], tokenizer: Tokenizer, max_tokens: int) -> Captions:
    """Texts, cut to `max_tokens`, as arrays; found in `folder` where the same were made before."""
    digest = hashlib.sha256(f"{tokenizer.sha256} {max_tokens} {FORM}\n".encode())
    for text in texts:
        digest.update(hashlib.sha256(text.encode("utf-8", "replace")).digest())
    paths = [folder / f"{digest.hexdigest()[:24]}.{name}.npy" for name in Captions._fields]
    found = _opened(paths, len(texts))
    if found is None:
        folder.mkdir(parents=True, exist_ok=True)
        for path, array in zip(paths, _encoded(texts, tokenizer, max_tokens), strict=True):
            with written(path) as file:
                np.save(file, array)
        found = Captions(*(np.load(path, mmap_mode="r") for path in paths))
    return found


def _opened(paths: Sequence[Path], count: int) -> Captions | None:
    """The arrays, unless one is missing or cut, or they do not fit each other."""
    try:
        found = Captions(*(np.load(path, mmap_mode="r") for path in paths))
        whole = found.tokens.shape == (3, int(found.offsets[-1])) and len(found.offsets) == count + 1
    except (OSError, ValueError, EOFError, IndexError):
        return None
    return found if whole and found.signatures.shape == (count,) else None


def _encoded(texts: Sequence[str], tokenizer: Tokenizer, max_tokens: int) -> Captions:
    chunks: list[np.ndarray] = []
    lengths, signatures = [0], []
    for first in range(0, len(texts), CHUNK):
        some = texts[first : first + CHUNK]
        columns: list[list[int]] = [[], [], []]
        for text, encoded in zip(some, tokenizer.encode_batch(some, max_tokens), strict=True):
            words = tokenizer.word_strings(text)
            kinds = [*classify(words), 0]  # the last stands for specials, whose word is -1
            for column, values in zip(columns, (*encoded, [kinds[word] for word in encoded.words]), strict=True):
                column += values
            lengths.append(len(encoded.ids))
            signatures.append(fingerprint("\n".join(sorted(signature(words)))))
        chunks.append(np.array(columns, np.int32))
    return Captions(np.concatenate(chunks, axis=1), np.cumsum(lengths), np.array(signatures))
