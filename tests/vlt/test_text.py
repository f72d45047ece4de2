import math
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from corpus_db.errors import UserError
from tests.vlt import tiny
from vlt.text import SPECIALS, TextEncoder, Tokenizer, load_bert

WIDTH, HEADS, LAYERS, VOCAB, PLACES = 16, 2, 2, 40, 12
READER = Tokenizer.train(
    [*tiny.CAPTIONS, "t1-weighted masses seen, 1.8 cm or 1,200 (arrow); 5%? axial ct 34679: calcification"] * 3, 400
)


@pytest.mark.parametrize("size", [60, 90])
def test_a_vocabulary_depends_neither_on_the_order_of_captions_nor_on_the_process(size):
    code = (
        "from tests.vlt import tiny\nfrom vlt.text import Tokenizer\n"
        f"print(Tokenizer.train(tiny.CAPTIONS[::-1], {size}).sha256)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == Tokenizer.train(tiny.CAPTIONS, size).sha256


def test_a_vocabulary_is_the_same_when_written_and_read(tmp_path):
    (tmp_path / "vocab.txt").write_text(tiny.TOKENIZER.text(), encoding="utf-8")
    assert Tokenizer.read(tmp_path / "vocab.txt").sha256 == tiny.TOKENIZER.sha256


@pytest.mark.parametrize(
    "content,named",
    [
        (b"[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n", "[MASK]"),
        ("\n".join([*SPECIALS, "a", "a"]).encode(), "1 tokens stand in it twice"),
        (b"\xff\xfe\x00", "UTF-8"),
    ],
)
def test_a_file_that_is_no_vocabulary_is_named(tmp_path, content, named):
    path = tmp_path / "vocab.txt"
    path.write_bytes(content)
    with pytest.raises(UserError) as raised:
        Tokenizer.read(path)
    assert named in str(raised.value) and str(path) in str(raised.value)


def test_specials_may_stand_anywhere_in_a_vocabulary():
    tokenizer = Tokenizer(["a", "[MASK]", "[SEP]", "b", "[CLS]", "[UNK]", "[PAD]"])
    assert tokenizer.encode("b A c", 8).ids == [4, 3, 0, 5, 2]
    assert tokenizer.plain.tolist() == [0, 3]


def test_a_vocabulary_of_lines_that_end_in_carriage_returns_and_of_tokens_that_look_like_line_breaks(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_bytes("\r\n".join([*SPECIALS, "a\u2028b", "\x85", "c"]).encode())
    assert Tokenizer.read(path).vocabulary == (*SPECIALS, "a\u2028b", "\x85", "c")


def test_a_vocabulary_that_is_not_there_or_too_large_is_named(tmp_path, monkeypatch):
    path = tmp_path / "vocab.txt"
    with pytest.raises(UserError, match=r"vocab\.txt: cannot be read as a vocabulary \(No such file"):
        Tokenizer.read(path)
    path.write_text(tiny.TOKENIZER.text())
    monkeypatch.setattr("vlt.text.LARGEST_VOCABULARY", 100)
    with pytest.raises(UserError, match=r"vocab\.txt: .* a vocabulary has at most 100"):
        Tokenizer.read(path)
    monkeypatch.setattr("vlt.text.LONGEST_VOCABULARY", 10)
    with pytest.raises(UserError, match="at most 10 are read"):
        Tokenizer(tiny.TOKENIZER.vocabulary)


WORDS = st.sampled_from(["axial", "ct", "t1-weighted", "masses", "1.8", "12", "1,200", "left", "(arrow)", "5%"])


@given(st.lists(st.lists(WORDS, min_size=1, max_size=6), min_size=1, max_size=3), st.sampled_from(".;?"))
@settings(deadline=None, max_examples=50)
def test_a_caption_comes_back_from_its_tokens(sentences, end):
    text = " ".join(" ".join(words) + f" seen{end}" for words in sentences)
    assert READER.decode(READER.encode(text.title(), 80).ids) == text


@pytest.mark.parametrize("caption", tiny.CAPTIONS)
def test_a_caption_comes_back_from_its_tokens_in_lower_case(caption):
    assert tiny.TOKENIZER.decode(tiny.TOKENIZER.encode(caption, 80).ids) == caption.lower()


@pytest.mark.parametrize(
    "text",
    ["a mass, 1.8 cm in diameter. no other.", "t1-weighted (axial) mri: 3 x 4 cm.", "ct/mr", "levels 1, 2 and 1,200"],
)
def test_numbers_hyphens_and_brackets_are_joined_as_a_reader_expects(text):
    tokenizer = Tokenizer.train([text], 200)
    assert tokenizer.decode(tokenizer.encode(text, 80).ids) == text


@given(st.text(st.characters()) | st.text("Axial CT.\ud800\x00 1-"), st.integers(4, 30))
@settings(deadline=None)
def test_any_string_is_encoded_within_the_length_and_its_words_are_numbered(text, length):
    encoded = tiny.TOKENIZER.encode(text, length)
    assert 2 <= len(encoded.ids) == len(encoded.words) <= length
    assert (encoded.ids[0], encoded.ids[-1]) == (tiny.TOKENIZER.cls, tiny.TOKENIZER.sep)
    assert encoded.words[0] == encoded.words[-1] == -1
    assert encoded.words[1:-1] == sorted(encoded.words[1:-1])
    assert max(encoded.words) < max(len(tiny.TOKENIZER.word_strings(text)), 1)
    tiny.TOKENIZER.decode(encoded.ids)


def test_the_numbers_of_words_are_places_in_the_list_of_words():
    text = "A (T1-weighted) MRI: Calcification,\u0301 xyzzy\u4e2d 1.8 cm"
    encoded, words = READER.encode(text, 80), READER.word_strings(text)
    assert words == [
        *"a(",
        "t1",
        "-",
        "weighted",
        ")",
        "mri",
        ":",
        "calcification",
        ",",
        "xyzzy",
        "\u4e2d",
        *"1.8",
        "cm",
    ]
    joined = {number: "" for number in range(len(words))}
    for token, number in zip(encoded.ids[1:-1], encoded.words[1:-1], strict=True):
        joined[number] += READER.vocabulary[token].removeprefix("##")
    assert [words[number] for number, told in joined.items() if told != words[number]] == ["xyzzy", "\u4e2d"]


def test_pieces_of_a_word_share_its_number():
    tokenizer = Tokenizer([*SPECIALS, "mass", "##es", "a"])
    assert tokenizer.encode("a masses", 9).words == [-1, 0, 1, 1, -1]


def bert_weights(layers=LAYERS, prefix="bert.", places=PLACES + 4):
    """Random weights under BERT's names."""
    generator = torch.Generator().manual_seed(0)

    def some(*shape):
        return torch.randn(*shape, generator=generator) * 0.3

    weights = {
        "embeddings.word_embeddings.weight": some(VOCAB, WIDTH),
        "embeddings.position_embeddings.weight": some(places, WIDTH),
        "embeddings.token_type_embeddings.weight": some(2, WIDTH),
        "embeddings.LayerNorm.weight": some(WIDTH),
        "embeddings.LayerNorm.bias": some(WIDTH),
        "pooler.dense.weight": some(WIDTH, WIDTH),
    }
    for layer in range(layers):
        base = f"encoder.layer.{layer}."
        shapes = {
            "attention.self.query": (WIDTH, WIDTH),
            "attention.self.key": (WIDTH, WIDTH),
            "attention.self.value": (WIDTH, WIDTH),
            "attention.output.dense": (WIDTH, WIDTH),
            "intermediate.dense": (4 * WIDTH, WIDTH),
            "output.dense": (WIDTH, 4 * WIDTH),
        }
        for name, shape in shapes.items():
            weights |= {f"{base}{name}.weight": some(*shape), f"{base}{name}.bias": some(shape[0])}
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            weights |= {f"{base}{name}.weight": some(WIDTH), f"{base}{name}.bias": some(WIDTH)}
    return {prefix + name: tensor for name, tensor in weights.items()}


def plain_bert(weights, tokens, present):
    """BERT by its paper (arXiv 1810.04805), one sentence and one head at a time."""

    def get(name):
        return weights["bert." + name]

    def norm(x, name):
        x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-12).sqrt()
        return x * get(f"{name}.weight") + get(f"{name}.bias")

    def dense(x, name):
        return x @ get(f"{name}.weight").T + get(f"{name}.bias")

    found = []
    for ids, there in zip(tokens, present, strict=True):
        x = get("embeddings.word_embeddings.weight")[ids] + get("embeddings.position_embeddings.weight")[: len(ids)]
        x = norm(x + get("embeddings.token_type_embeddings.weight")[0], "embeddings.LayerNorm")
        for layer in range(LAYERS):
            base = f"encoder.layer.{layer}."
            q, k, v = (dense(x, f"{base}attention.self.{part}") for part in ("query", "key", "value"))
            heads = []
            for head in range(HEADS):
                own = slice(head * WIDTH // HEADS, (head + 1) * WIDTH // HEADS)
                scores = q[:, own] @ k[:, own].T / math.sqrt(WIDTH // HEADS)
                heads.append(scores.masked_fill(~there, -math.inf).softmax(-1) @ v[:, own])
            attended = dense(torch.cat(heads, -1), f"{base}attention.output.dense")
            x = norm(x + attended, f"{base}attention.output.LayerNorm")
            inner = dense(x, f"{base}intermediate.dense")
            inner = inner * 0.5 * (1 + torch.erf(inner / math.sqrt(2)))
            x = norm(x + dense(inner, f"{base}output.dense"), f"{base}output.LayerNorm")
        found.append(x)
    return torch.stack(found)


def encoder(vocab=VOCAB, layers=LAYERS, places=PLACES):
    torch.manual_seed(5)
    return TextEncoder(vocab, WIDTH, HEADS, layers, places, 0.0, pad=0).eval()


def legacy(weights):
    """As files of the first years have it: LayerNorm.gamma and .beta."""
    return {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for name, tensor in weights.items()
    }


@pytest.mark.parametrize("form", ["safetensors", "bin", "legacy", "bare"])
def test_with_berts_weights_the_encoder_is_bert(tmp_path, form):
    weights = bert_weights()
    if form == "safetensors":
        save_file(weights, tmp_path / "model.safetensors")
    else:
        bare = {name.removeprefix("bert."): tensor for name, tensor in weights.items()}
        kept = legacy(weights) if form == "legacy" else bare if form == "bare" else weights
        torch.save(kept, tmp_path / "pytorch_model.bin")
    model = encoder()
    load_bert(model, tmp_path)
    tokens = torch.randint(1, VOCAB, (3, 9), generator=torch.Generator().manual_seed(1))
    present = torch.arange(9) < torch.tensor([9, 5, 1])[:, None]
    with torch.no_grad():
        given = model(tokens, present[:, None, None])
    torch.testing.assert_close(given, plain_bert(weights, tokens, present), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "change,named",
    [
        (lambda w: w.pop("bert.encoder.layer.1.output.dense.bias"), "encoder.layer.1.output.dense.bias"),
        (
            lambda w: w.update({"bert.embeddings.LayerNorm.bias": torch.zeros(3)}),
            "embeddings.LayerNorm.bias is torch.float32 [3]",
        ),
        (lambda w: w.update({"bert.embeddings.word_embeddings.weight": torch.zeros(7, WIDTH)}), "[7, 16]"),
        (lambda w: w.update({"bert.embeddings.position_embeddings.weight": torch.zeros(7, WIDTH)}), "[7, 16]"),
        (lambda w: w.update({"bert.embeddings.position_embeddings.weight": torch.zeros(PLACES, 1)}), "[12, 1]"),
        (lambda w: w.update({"bert.embeddings.position_embeddings.weight": torch.tensor(1.0)}), "position_embeddings"),
        (lambda w: w.update({"bert.embeddings.token_type_embeddings.weight": torch.zeros(0, WIDTH)}), "token_type"),
        (lambda w: w.update({"bert.encoder.layer.0.attention.self.key.weight": torch.zeros(WIDTH, 3)}), "self.key"),
        (lambda w: w.update({"bert.embeddings.LayerNorm.bias": torch.zeros(WIDTH, dtype=torch.int32)}), "torch.int32"),
    ],
)
def test_weights_that_do_not_fit_are_named(tmp_path, change, named):
    weights = bert_weights()
    change(weights)
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(UserError) as raised:
        load_bert(encoder(), tmp_path)
    assert named in str(raised.value) and "model.safetensors" in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "told,named",
    [('{"num_attention_heads": 4}', "num_attention_heads"), ('{"hidden_act": "relu"}', "relu"), ("[[", "settings")],
)
def test_settings_beside_the_weights_that_would_make_another_model_are_refused(tmp_path, told, named):
    save_file(bert_weights(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(told)
    with pytest.raises(UserError, match=named):
        load_bert(encoder(), tmp_path)


class Evil:
    def __reduce__(self):
        return print, ("run",)


def test_a_file_with_code_in_it_is_refused_and_nothing_runs(tmp_path, capsys):
    torch.save({"a": Evil()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match="cannot be read as weights"):
        load_bert(encoder(), tmp_path)
    assert "run" not in capsys.readouterr().out


def test_a_folder_without_weights_says_what_is_looked_for(tmp_path):
    with pytest.raises(UserError, match=r"neither model\.safetensors nor pytorch_model\.bin"):
        load_bert(encoder(), tmp_path)
