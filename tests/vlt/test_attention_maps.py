import json
from types import SimpleNamespace

import matplotlib.figure
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import cli
from corpus_db.errors import UserError
from corpus_db.read import Question
from tests.vlt import tiny
from vlt import attention_maps, evaluate, predict
from vlt.attention import Attention
from vlt.attention_maps import Map, Reread, captioned, draw, maps, of_prediction, of_texts, watched, written_behind
from vlt.masks import merged_mask
from vlt.pack import Pack, letterbox
from vlt.predict import Model
from vlt.tasks.questions import QuestionDataset
from vlt.tasks.vqa import answered

FUSIONS = ("cross", "merged")
BACKBONES = ("swin_nano", "vit_nano", "resnet_nano")
NAMES = tiny.TOKENIZER
ANSWERS = ["cyst", "mass", "no", "yes"]
ODD = [
    r"$\frac{1}{0}$ and \alpha_$ $",
    "a\x00b\x1b[31m\r\n\tc\u202egnp.exe\u2028",
    "\ud800 lone",
    "肺部有什么异常 🫁",
    "x" * 200_000,
    "word " * 50_000,
    "{ % # ~ & ^ _ }",
    "",
]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """So small a model only loses by more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def built(fusion="cross", backbone="resnet_nano", answers=(), **settings):
    torch.manual_seed(0)
    config = tiny.config(fusion=fusion, backbone=backbone, **settings)
    return Model(predict.VLT(config, len(NAMES), NAMES.pad, len(answers)).eval(), NAMES, answers)


def fused(model, mask="bidirectional"):
    """What `maps` takes."""
    batch = tiny.batch(4)
    with torch.no_grad():
        return model.encode_image(batch.images), model.encode_text(batch.tokens, batch.present, mask), batch.present


def plainly(attention, x, memory, allowed):
    """Weights (B, heads, L, M), one row at a time."""
    width, heads = attention.width, attention.heads
    q, k = attention.qkv(x)[..., :width], attention.qkv(memory)[..., width : 2 * width]
    found = torch.zeros(len(x), heads, x.shape[1], memory.shape[1])
    for head in range(heads):
        part = slice(head * width // heads, (head + 1) * width // heads)
        for one in range(len(x)):
            for row in range(x.shape[1]):
                keys = allowed[one, row].nonzero()[:, 0]
                scores = k[one, keys, part] @ q[one, row, part] / (width / heads) ** 0.5
                found[one, head, row, keys] = scores.exp() / scores.exp().sum()
    return found


@pytest.mark.parametrize("mask", ["bidirectional", "seq2seq"])
def test_the_weights_of_cross_fusion_are_the_formula_and_sum_to_one_over_the_image(mask):
    model = built("cross").vlt
    image, text, present = fused(model, mask)
    given = []
    hooks = [part.register_forward_pre_hook(lambda _, args: given.append(args)) for part in model.fusion.text]
    found = maps(model, image, text, present, mask)
    for hook in hooks:
        hook.remove()
    assert found.shape == (4, 2, 2, text.shape[1], image.shape[1])
    torch.testing.assert_close(found.sum(-1), torch.ones(found.shape[:-1]))
    for layer, (x, read, *_) in enumerate(given):
        part = model.fusion.text[layer]
        whole = torch.ones(4, x.shape[1], read.shape[1], dtype=torch.bool)
        with torch.no_grad():
            torch.testing.assert_close(found[:, layer], plainly(part.attention, part.norm(x), read, whole))
    assert found.std(-1).min() > 0


@pytest.mark.parametrize("mask", ["bidirectional", "seq2seq"])
def test_of_merged_fusion_the_rows_are_words_the_columns_image_tokens_and_the_mass_is_raw(mask):
    model = built("merged").vlt
    image, text, present = fused(model, mask)
    count, layer = image.shape[1], model.fusion.layers[0]
    stream = torch.cat([image + model.fusion.kinds[0], text + model.fusion.kinds[1]], 1)
    allowed = merged_mask(present, count, mask)[:, 0].expand(-1, stream.shape[1], -1)
    with torch.no_grad():
        normed = layer.norm_attention(stream)
        explicit = plainly(layer.attention, normed, normed, allowed)
    found = maps(model, image, text, present, mask)
    assert found.shape == (4, 2, 2, text.shape[1], count)
    torch.testing.assert_close(found[:, 0], explicit[:, :, count:, :count])
    torch.testing.assert_close(explicit.sum(-1), torch.ones(explicit.shape[:-1]))
    assert (found.sum(-1) < 1).all()


@pytest.mark.parametrize("fusion", FUSIONS)
def test_weights_times_values_are_what_the_attention_gives(fusion):
    attention, x, read = Attention(32, 2), torch.randn(2, 5, 32), torch.randn(2, 7, 32)
    memory, mask = (read, None) if fusion == "cross" else (None, torch.rand(2, 1, 5, 5) < 0.7)
    if mask is not None:
        mask[..., 0] = True
    source = x if memory is None else memory
    v = attention.qkv(source)[..., 64:].unflatten(2, (2, -1)).transpose(1, 2)
    seen = attention_maps.weights(attention, x, memory, mask) @ v
    torch.testing.assert_close(attention.out(seen.transpose(1, 2).flatten(2)), attention(x, memory, mask))


def size_of(path):
    with Image.open(path) as opened:
        opened.load()
        return opened.size


def hooks_of(model):
    return [part for part in model.modules() if part._forward_pre_hooks or part._forward_hooks]


@pytest.mark.parametrize("fusion", FUSIONS)
def test_looking_changes_no_bit_of_what_a_model_says_and_leaves_no_hook(fusion):
    model = built(fusion).vlt
    image, text, present = fused(model)
    before = model.fuse(text, image, present)
    with watched(model) as found:
        during = model.fuse(text, image, present)
        assert len(found) == len(hooks_of(model)) == 2
    after = model.fuse(text, image, present)
    for one in (during, after):
        assert torch.equal(one.text, before.text) and torch.equal(one.image, before.image)
    assert not hooks_of(model)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_the_hooks_are_gone_when_the_model_raises(fusion):
    model = built(fusion).vlt
    image, text, present = fused(model)
    with pytest.raises(RuntimeError):
        maps(model, image[..., :-1], text, present)
    assert not hooks_of(model)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_map_is_of_the_last_layer_its_heads_mean_and_the_asked_rows_and_padding_counts_not(fusion):
    model = built(fusion).vlt
    image, _, _ = fused(model)
    batch = tiny.batch(4)
    asked = torch.zeros_like(batch.present)
    asked[:, 2:5] = True
    found = of_texts(model, image, Reread(batch.tokens, asked, "bidirectional"))
    for row, one in enumerate(found):
        length = int(batch.present[row].sum())
        tokens = batch.tokens[row : row + 1, :length]
        text = model.encode_text(tokens, tokens != NAMES.pad)
        raw = maps(model, image[row : row + 1], text, tokens != NAMES.pad)[0, -1, :, 2:5].mean((0, 1))
        assert one.mass == pytest.approx(float(raw.sum()), rel=1e-5)
        np.testing.assert_allclose(one.weights.ravel(), raw / raw.sum(), rtol=1e-4)
        assert one.weights.sum() == pytest.approx(1, rel=1e-5)


def test_a_written_text_is_read_at_the_rows_that_named_its_tokens():
    said = NAMES.encode("a mass", 24).ids[1:-1]
    texts = written_behind([[NAMES.cls, 7], [NAMES.cls], [NAMES.cls, 7, 8]], ["a mass", "", "a mass"], NAMES, 4)
    assert len(said) == 2 and texts.mask == "seq2seq"
    pad = NAMES.pad
    assert texts.tokens.tolist() == [[NAMES.cls, 7, *said], [NAMES.cls, pad, pad, pad], [NAMES.cls, 7, 8, said[0]]]
    assert [row.nonzero()[:, 0].tolist() for row in texts.asked] == [[1, 2], [0], [2]]


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_model_has_maps_of_its_grid_for_captions_answers_and_hidden_words(fusion, backbone, tmp_path):
    model = built(fusion, backbone)
    picture = np.random.default_rng(0).integers(0, 256, (20, 50), dtype=np.uint8)
    maps_ = []
    for said, question in (("a mass", None), ("left", "Which side?"), ("cyst", "A [MASK] in the [MASK] lobe.")):
        pixels, seen = of_prediction(model, picture, said, question)
        assert np.array_equal(pixels[0], letterbox(picture, 32))
        assert seen.weights.shape == model.vlt.backbone.grid and seen.weights.sum() == pytest.approx(1, rel=1e-4)
        assert 0 < seen.mass < 1.0001 and (fusion == "merged" or seen.mass == pytest.approx(1, rel=1e-5))
        maps_.append(seen.weights)
        draw(tmp_path / "map.png", pixels, seen, captioned({"question": str(question), "output": said}))
    assert size_of(tmp_path / "map.png") == (900, 540)
    assert not np.allclose(maps_[0], maps_[1]) and not np.allclose(maps_[1], maps_[2])


def test_a_hidden_word_is_mapped_by_the_rows_of_its_masks_under_the_mask_of_the_run():
    model = built(mask="seq2seq")
    picture = tiny.batch(1).images[0, 0].numpy()
    _, seen = of_prediction(model, picture, "cyst", "a [MASK] .")
    tokens = torch.tensor([[NAMES.cls, *NAMES.encode("a", 9).ids[1:-1], NAMES.mask, *NAMES.encode(".", 9).ids[1:]]])
    here = of_texts(model.vlt, model._image_tokens([picture]).detach(), Reread(tokens, tokens == NAMES.mask, "seq2seq"))
    assert np.array_equal(here[0].weights, seen.weights)


@pytest.mark.parametrize("task", ["vqa", "pretraining"])
def test_an_answer_in_use_is_mapped_by_the_way_that_it_was_found(task):
    picture, question = tiny.batch(1).images[0, 0].numpy(), "Which side?"
    chosen = built(answers=ANSWERS, objectives={"answer": 1.0, "lm": 1.0})
    object.__setattr__(chosen.config, "task", task)
    image = chosen._image_tokens([picture]).detach()
    ids = NAMES.prompt(question, 24)
    before = ids if task == "vqa" else ids[:-1]
    cls = attention_maps.classified(torch.tensor([ids]))
    said = written_behind([before], ["no"], NAMES, 24)
    assert cls.asked.sum() == 1 and cls.asked[0, 0]
    for choices, texts in (((), cls), (["no", "yes"], said)):
        _, seen = of_prediction(chosen, picture, "no", question, choices)
        np.testing.assert_allclose(seen.weights, of_texts(chosen.vlt, image, texts)[0].weights, rtol=1e-5)


def test_a_model_that_sees_no_image_has_no_map():
    with pytest.raises(UserError, match="sees no image"):
        of_prediction(built(blind=True), np.zeros((32, 32), np.uint8), "a mass")


# -- drawing


def test_the_map_is_drawn_over_the_image_where_the_model_looked(tmp_path):
    weights = np.zeros((2, 4), np.float32)
    weights[1, 3] = 1.0
    draw(tmp_path / "map.png", np.zeros((1, 32, 32), np.uint8), Map(weights, 1.0), ["question: none"])
    drawn = np.asarray(Image.open(tmp_path / "map.png").convert("L"), int)
    panel = drawn[54:362, 453:761]  # figure.add_axes of 0.5, 0.33, 0.35, 0.57 of 900 x 540
    cells = panel[4:304, 4:304].reshape(2, 150, 4, 75).mean((1, 3))
    assert cells[1, 3] > 100 and np.delete(cells.ravel(), 7).max() < 40


def test_the_title_states_the_grid_and_that_a_coarse_one_locates_nothing(tmp_path, monkeypatch):
    titles = []
    plain = matplotlib.figure.Figure.text
    monkeypatch.setattr(
        matplotlib.figure.Figure, "text", lambda self, x, y, s, **how: titles.append(s) or plain(self, x, y, s, **how)
    )
    for rows, columns in ((4, 4), (7, 14)):
        seen = Map(np.full((rows, columns), 1 / (rows * columns), np.float32), 0.41)
        draw(tmp_path / "map.png", np.zeros((3, 32, 32), np.uint8), seen, [])
    assert titles[0].startswith("4 x 4 grid, too coarse to locate anything;") and "41%" in titles[0]
    assert titles[2].startswith("7 x 14 grid; ")


@pytest.mark.parametrize("text", ODD, ids=range(len(ODD)))
@pytest.mark.filterwarnings("error::UserWarning")
def test_texts_of_strangers_are_drawn_and_break_nothing(tmp_path, text):
    lines = captioned({"question": text, "truth": text, "output": text})
    assert len(lines) <= 9 and all(line.isprintable() and len(line) <= 108 for line in lines)
    draw(tmp_path / "map.png", np.zeros((1, 32, 32), np.uint8), Map(np.full((8, 8), 1 / 64, np.float32), 1.0), lines)
    assert size_of(tmp_path / "map.png") == (900, 540)


def test_a_dollar_is_drawn_as_it_is_and_a_long_text_says_that_it_was_cut(tmp_path):
    assert captioned({"question": "costs $5$?"}) == ["question: costs $5$?"]
    assert captioned({"question": "word " * 400})[-1].endswith(" …")
    pictures = []
    for line in ("$x$", r"\$x\$", "x"):
        draw(tmp_path / "map.png", np.zeros((1, 8, 8), np.uint8), Map(np.full((8, 8), 1 / 64), 1.0), [line])
        pictures.append((tmp_path / "map.png").read_bytes())
    assert len(set(pictures)) == 3


def test_a_file_is_there_whole_or_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "map.png"
    path.write_bytes(b"before")

    def half(self, file, **_):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", half)
    with pytest.raises(UserError, match=r"map.png: cannot be written \(No space left on device\)"):
        draw(path, np.zeros((1, 8, 8), np.uint8), Map(np.full((8, 8), 1 / 64), 1.0), [])
    assert [one.name for one in tmp_path.iterdir()] == ["map.png"] and path.read_bytes() == b"before"
    with pytest.raises(UserError, match="cannot be written"):
        draw(tmp_path / "no" / "map.png", np.zeros((1, 8, 8), np.uint8), Map(np.full((8, 8), 1 / 64), 1.0), [])


# -- answers


def asked(folder):
    """Six questions about three images."""
    pixels = tiny.batch(3).images[:, 0].numpy()
    where = {f"s{number}": (0, number) for number in range(3)}
    packed = Pack(folder, pixels, np.zeros((0, 32, 32, 3), np.uint8), where, {})
    questions = [
        Question(
            "test", f"../q{number}", "i.png", f"s{number % 3}", "i.png", f"Is there $a$ {number}?", ANSWERS[number % 4],
            "closed", None, "test", "en", None, None,
        )
        for number in range(6)
    ]  # fmt: skip
    return QuestionDataset(questions, packed, NAMES, ANSWERS, channels=1, max_tokens=24)


def test_a_chosen_answer_is_mapped_by_the_row_of_cls_and_a_written_one_by_its_own_rows(tmp_path):
    data = asked(tmp_path)
    chosen, said = built(answers=ANSWERS, objectives={"answer": 1.0, "lm": 1.0}), built(objectives={"lm": 1.0})
    for model in (chosen, said):
        found = answered(model.vlt, data, NAMES, model.answers, model.device, 1)
        for (pixels, seen), row in zip(attention_maps.of_answers(model, data, [4, 1], found), (4, 1), strict=True):
            batch = data.batch(np.array([row]))
            assert np.array_equal(pixels, batch.images[0].numpy())
            image = model.vlt.encode_image(batch.images).detach()
            if model is chosen:
                text = model.vlt.encode_text(batch.tokens, batch.present)
                rows = maps(model.vlt, image, text, batch.present)[0, -1, :, :1]
            else:
                before = NAMES.prompt(data.questions[row].question, 24)
                ids = torch.tensor([[*before, *NAMES.encode(found[row].output, 24).ids[1:-1]][:24]])
                text = model.vlt.encode_text(ids, ids > -1, "seq2seq")
                rows = maps(model.vlt, image, text, ids > -1, "seq2seq")[0, -1, :, len(before) - 1 : -1]
            np.testing.assert_allclose(seen.weights.ravel(), rows.mean((0, 1)), rtol=1e-4)


@pytest.fixture
def evaluated(tmp_path, monkeypatch):
    """`evaluate vqa` of a run that need not be trained."""
    model, data = built(answers=ANSWERS, objectives={"answer": 1.0}), asked(tmp_path)
    corpora = [{"manifest_sha256": "a"}]
    run = SimpleNamespace(folder=tmp_path / "rad", config=model.config, corpora=corpora, unchecked=[])
    splits = {"train": data.questions, "test": data.questions}
    task = SimpleNamespace(
        questions=SimpleNamespace(splits=splits, name="test", sha256="a", database="a.db", left_out={}),
        answers=ANSWERS,
        dataset=lambda *_: data,
    )
    monkeypatch.setattr(evaluate, "_answering", lambda *_: (run, model, task))
    monkeypatch.setattr(evaluate, "told_of_questions", lambda _: [])
    return run.folder / "evaluations" / "vqa-test"


def test_evaluate_draws_the_surest_right_and_wrong_answers_with_an_index(evaluated):
    (evaluated / "maps").mkdir(parents=True)
    (evaluated / "maps" / "wrong-099.png").write_bytes(b"of before")
    command = ["evaluate", "vqa", "--run", "rad", "--maps", "3"]
    done = CliRunner().invoke(cli.main, command)
    assert done.exit_code == 0, done.output
    predictions = [json.loads(line) for line in (evaluated / "predictions.jsonl").read_text().splitlines()]
    index = [json.loads(line) for line in (evaluated / "maps" / "index.jsonl").read_text().splitlines()]
    files = {one.name for one in (evaluated / "maps").iterdir()}
    assert files == {"index.jsonl", *(line["file"] for line in index)}
    for kind, half in ((True, 2), (False, 1)):
        sure = sorted((one for one in predictions if one["right"] is kind), key=lambda one: -one["score"])[:half]
        drawn = [line for line in index if line["right"] is kind]
        assert [line["id"] for line in drawn] == [one["id"] for one in sure]
        names = [f"{'right' if kind else 'wrong'}-{place + 1:03}.png" for place in range(len(sure))]
        assert [line["file"] for line in drawn] == names
    assert {line["right"] for line in index} == {True, False}
    assert all(line["mass"] == 1.0 and len(line["grid"]) == 2 for line in index)
    assert f"{len(index)} attention maps in {evaluated / 'maps'}" in done.stdout


def test_without_the_option_no_map_is_drawn(evaluated):
    done = CliRunner().invoke(cli.main, ["evaluate", "vqa", "--run", "rad"])
    assert done.exit_code == 0 and (evaluated / "table.md").exists() and not (evaluated / "maps").exists()


@pytest.mark.parametrize("question", [[], ["--question", "A [MASK]?"], ["--question", "Left?", "--choices", "no,yes"]])
def test_predict_draws_the_map_of_one_image_and_refuses_several(tmp_path, question):
    built().save(tmp_path / "model.safetensors")
    Image.fromarray(tiny.batch(1).images[0, 0].numpy()).save(tmp_path / "scan.png")
    out, scan = tmp_path / "out.png", str(tmp_path / "scan.png")
    command = ["predict", "--run", str(tmp_path / "model.safetensors"), *question, "--map", str(out), scan]
    done = CliRunner().invoke(cli.main, command)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(scan) and size_of(out) == (900, 540)
    out.unlink()
    done = CliRunner().invoke(cli.main, [*command, scan])
    assert done.exit_code == 2 and "--map draws one image's map; 2 are given" in done.output and not out.exists()
