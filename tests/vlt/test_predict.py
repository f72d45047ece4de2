import json
import struct

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import cli
import vlt
from corpus_db.errors import UserError
from tests.vlt import corpus, tiny
from vlt import predict, runs
from vlt.decode import Search
from vlt.objectives import Objectives, draw
from vlt.predict import Model
from vlt.text import Tokenizer

COUNT = 4  # pairs that the model of these tests knows by heart


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """So small a model only loses by more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def pictures():
    return list(tiny.batch(COUNT).images[:, 0].numpy())


@pytest.fixture(scope="module")
def learned():
    """A model that has seen nothing but COUNT pairs."""
    config = tiny.config(backbone="resnet_nano", objectives={"mlm": 1.0, "lm": 1.0}, text_layers=0, fusion_layers=1)
    model, batch, generator = tiny.model(config).train(), tiny.batch(COUNT), torch.Generator().manual_seed(1)
    objectives = Objectives(model, config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    for _ in range(140):
        outcomes = objectives(draw(batch, config, tiny.TOKENIZER, generator))
        optimizer.zero_grad()
        sum(outcome.loss for outcome in outcomes.values()).backward()
        optimizer.step()
    return Model(model.eval(), tiny.TOKENIZER)


@pytest.fixture(scope="module")
def untrained():
    return Model(tiny.model(tiny.config()).eval(), tiny.TOKENIZER)


@pytest.mark.parametrize("beams", [1, 3, 8])
def test_each_image_gets_its_own_caption(learned, pictures, beams):
    told = [learned.caption(picture, beams) for picture in pictures]
    assert told == [caption.lower() for caption in tiny.CAPTIONS[:COUNT]]


def test_many_images_are_captioned_in_parts_as_each_alone(learned, pictures, monkeypatch):
    monkeypatch.setattr(predict, "AT_ONCE", 3)
    assert learned.captions(pictures) == [learned.caption(picture) for picture in pictures]
    assert learned.captions([]) == []


def test_the_options_of_a_caption_reach_its_search(untrained, pictures, monkeypatch):
    monkeypatch.setattr(Tokenizer, "decode", lambda _, ids: list(ids))
    drawn = [untrained.caption(pictures[0], temperature=1.5, seed=seed) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    with torch.no_grad():
        bias = untrained.vlt.word_bias.clone()
        untrained.vlt.word_bias[40] += 100.0
        free, bound = untrained.caption(pictures[0]), untrained.caption(pictures[0], no_repeat=1)
        untrained.vlt.word_bias.copy_(bias)
    assert free == [40] * 23 and len(set(bound)) == len(bound)
    for option in ("length_penalty", "temperature"):
        with pytest.raises(UserError, match=f"{option} inf: give "):
            untrained.caption(pictures[0], **{option: float("inf")})


def test_a_mask_is_filled_in_and_of_choices_the_likeliest_is_taken(learned, pictures):
    assert learned.answer(pictures[0], "Axial CT of the head shows a [MASK] in the [MASK] frontal lobe.") == "mass left"
    sides = ["right kidney", "left frontal lobe"]
    assert learned.answer(pictures[0], "Axial CT of the head shows a mass in the", sides) == sides[1]
    assert learned.answer(pictures[2], "Sonogram of the abdomen with a small cyst in the", sides) == sides[0]
    assert learned.answer(pictures[1], "Axial CT of the head") == "is normal."


def test_the_score_of_a_choice_is_the_mean_of_its_words_one_after_the_other(learned, pictures):
    image, ids = learned._image_tokens(pictures[:1]), tiny.TOKENIZER.encode("axial ct of the head", 24).ids[:-1]
    singly, follows = [], tiny.TOKENIZER.encode("is normal", 24).ids[1:-1]
    for token in follows:
        with torch.no_grad():
            singly.append(float(learned._next_words(image, torch.tensor([ids]), len(ids) - 1)[0, 0, token]))
        ids = [*ids, token]
    with torch.no_grad():
        whole = learned._likelihood(image, ids[: -len(follows)], "is normal")
    assert whole == pytest.approx(sum(singly) / len(singly), rel=1e-4)


@pytest.mark.parametrize("beams", [1, 2])
def test_a_caption_that_does_not_end_is_cut_at_the_longest_length(pictures, monkeypatch, beams):
    endless = Model(tiny.model(tiny.config()).eval(), tiny.TOKENIZER)
    with torch.no_grad():
        endless.vlt.word_bias[tiny.TOKENIZER.sep] = -100.0
    monkeypatch.setattr(Tokenizer, "decode", lambda _, ids: list(ids))
    assert len(endless.caption(pictures[0], beams)) == endless.config.max_tokens - 1  # and [CLS]


def test_there_may_be_more_beams_than_words_but_not_none(untrained, pictures):
    image = untrained._image_tokens(pictures[:1])
    (told,) = untrained._continued(image, [[2, *[5] * 21]], Search(beams=500))
    assert isinstance(told, str)
    with pytest.raises(UserError, match="beams 0: give 1 or more"):
        untrained.caption(pictures[0], 0)


def test_a_question_or_choice_too_long_for_the_model_is_said_so(untrained, pictures):
    with pytest.raises(UserError, match=r"the question has \d+ tokens; this model reads 23"):
        untrained.answer(pictures[0], "[MASK] " + "head " * 22)
    with pytest.raises(UserError, match="'': nothing of it fits"):
        untrained.answer(pictures[0], "head", ["mass", ""])


def test_what_a_model_did_not_learn_names_the_option(pictures):
    itm = Model(tiny.model(tiny.config(objectives={"itm": 1.0})).eval(), tiny.TOKENIZER)
    for ask in (
        lambda: itm.caption(pictures[0]),
        lambda: itm.answer(pictures[0], "Is it normal?", ["yes", "no"]),
        lambda: itm.answer(pictures[0], "A [MASK]."),
    ):
        with pytest.raises(
            UserError, match=r"learned itm; for this give pretrain --objectives .*,(lm or finetune report|mlm)$"
        ):
            ask()


@pytest.mark.parametrize("objectives", [{"itc": 1.0}, {"itm": 1.0}])
def test_embeddings_are_unit_vectors_whatever_they_are_embedded_with(objectives, pictures, monkeypatch):
    model = Model(tiny.model(tiny.config(objectives=objectives)).eval(), tiny.TOKENIZER)
    together = model.embed(pictures, tiny.CAPTIONS)
    assert {name: list(found.shape) for name, found in together.items()} == {"image": [COUNT, 32], "text": [8, 32]}
    for found in together.values():
        torch.testing.assert_close(found.norm(dim=1), torch.ones(len(found)))
    monkeypatch.setattr(predict, "AT_ONCE", 3)
    apart = model.embed(pictures, tiny.CAPTIONS)
    for name in together:
        torch.testing.assert_close(apart[name], together[name], rtol=1e-4, atol=1e-5)
    assert model.embed() == {}


def test_a_path_an_array_and_a_pillow_image_are_the_same_picture(untrained, tmp_path):
    colour = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    deep = np.random.default_rng(1).integers(0, 60_000, (30, 40), dtype=np.uint16)
    Image.fromarray(colour).save(tmp_path / "colour.png")
    Image.fromarray(deep).save(tmp_path / "deep.png")
    told = untrained.embed([tmp_path / "colour.png", str(tmp_path / "colour.png"), colour, Image.fromarray(colour)])
    for one in told["image"][1:]:
        torch.testing.assert_close(one, told["image"][0])
    told = untrained.embed([tmp_path / "deep.png", Image.fromarray(deep)])
    torch.testing.assert_close(*told["image"])


@pytest.mark.parametrize("array", [np.zeros((8, 8), np.float32), np.zeros((8, 8, 4), np.uint8), np.zeros(8, np.uint8)])
def test_an_array_that_is_no_image_is_refused(untrained, array):
    with pytest.raises(UserError, match=r"give uint8 of \(H, W\) or \(H, W, 3\)"):
        untrained.embed([array])


@pytest.mark.parametrize("backbone", ["swin_nano", "vit_nano", "resnet_nano"])
@pytest.mark.parametrize("fusion", ["cross", "merged"])
def test_a_saved_model_is_the_same_model_when_loaded(tmp_path, backbone, fusion, pictures):
    model = Model(tiny.model(tiny.config(backbone=backbone, fusion=fusion, image_size=96)).eval(), tiny.TOKENIZER)
    model.save(tmp_path / "m.safetensors")
    loaded = vlt.load(tmp_path / "m.safetensors", "cpu")
    assert (loaded.config, loaded.tokenizer.vocabulary) == (model.config, model.tokenizer.vocabulary)
    for name, found in model.embed(pictures, tiny.CAPTIONS).items():
        torch.testing.assert_close(loaded.embed(pictures, tiny.CAPTIONS)[name], found, rtol=0, atol=0)
    assert loaded.caption(pictures[0]) == model.caption(pictures[0])
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]


def test_a_run_is_loaded_by_its_folder_once_its_training_has_ended(untrained, tmp_path):
    run = runs.create(
        tmp_path / "trial", untrained.config, [runs.Corpus(corpus.version(tmp_path))], untrained.tokenizer
    )
    with pytest.raises(UserError, match=r"trial: its training has not ended; .* pretrain --resume trial"):
        vlt.load(run.folder, "cpu")
    untrained.save(run.folder / "model.safetensors")
    assert vlt.load(run.folder, "cpu").config == untrained.config


def test_saving_where_nothing_can_be_written_is_one_line(untrained, tmp_path):
    with pytest.raises(UserError, match="cannot be written"):
        untrained.save(tmp_path / "none" / "m.safetensors")


def changed(path, weights=None, **told):
    """The file with other weights or other metadata."""
    with safe_open(path, "pt") as file:
        metadata = file.metadata() | told
    save_file(load_file(path) if weights is None else weights, path, metadata={k: v for k, v in metadata.items() if v})


@pytest.mark.parametrize(
    "told,named",
    [
        ({"config": None}, "config"),
        ({"config": "[" * 100_000}, "recursion"),
        ({"config": '{"width": 64}'}, "tensors are not those of its config"),
        ({"config": '{"backbone": "../../x"}'}, "none of this name"),
        ({"config": '{"unheard_of": 1}'}, "unheard_of"),
        ({"vocabulary": "{"}, "not a model"),
        ({"vocabulary": "[1, 2]"}, "[PAD]"),
        ({"vocabulary": json.dumps([*tiny.TOKENIZER.vocabulary, 7])}, "not a model"),
        ({"vocabulary": json.dumps([*tiny.TOKENIZER.vocabulary, "one more"])}, "tensors are not those"),
    ],
)
def test_a_file_whose_metadata_are_not_its_weights_is_refused_in_one_line(untrained, tmp_path, told, named):
    path = tmp_path / "m.safetensors"
    untrained.save(path)
    changed(path, **told)
    with pytest.raises(UserError) as raised:
        vlt.load(path, "cpu")
    assert str(path) in str(raised.value) and named in str(raised.value)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 400


def test_a_config_that_asks_for_much_memory_gets_none(untrained, tmp_path):
    path = tmp_path / "m.safetensors"
    untrained.save(path)
    huge = tiny.config(width=8192, heads=64, text_layers=96, fusion_layers=96)  # 300 billion parameters
    changed(path, config=huge.to_json())
    with pytest.raises(UserError, match="tensors are not those of its config"):
        vlt.load(path, "cpu")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a pickle", struct.pack("<Q", 1 << 62) + b"{}"])
def test_a_file_that_is_no_model_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError, match="not a model that `pretrain` or `save` wrote"):
        vlt.load(path, "cpu")


def test_the_commands_predict_and_embed_say_what_the_model_says(learned, pictures, tmp_path):
    run, image = str(tmp_path / "m.safetensors"), str(tmp_path / "a.png")
    learned.save(run)
    Image.fromarray(pictures[1]).save(image)
    told = CliRunner().invoke(cli.main, ["predict", "--run", run, image])
    assert (told.exit_code, told.stdout) == (0, f"{image}\taxial ct of the head is normal.\n")
    told = CliRunner().invoke(
        cli.main, ["predict", "--run", run, "--json", "--question", "Axial CT of the [MASK] is normal.", image]
    )
    assert json.loads(told.stdout) == {"image": image, "text": "head"} and told.stderr == ""
    told = CliRunner().invoke(cli.main, ["predict", "--run", run, "--question", "Axial CT of the", image])
    assert told.exit_code == 0 and told.stderr.startswith("no [MASK] in the question: ")
    told = CliRunner().invoke(cli.main, ["embed", "--run", run, "-o", str(tmp_path / "v.npy"), image, image])
    assert told.exit_code == 0
    kept = np.load(tmp_path / "v.npy")
    told = CliRunner().invoke(cli.main, ["embed", "--run", run, image])
    np.testing.assert_allclose(json.loads(told.stdout)["embedding"], kept[1], rtol=1e-4, atol=1e-5)
    told = CliRunner().invoke(cli.main, ["predict", "--run", run, str(tmp_path / "none.png")])
    assert told.exit_code == 1 and "none.png" in told.stderr and "Traceback" not in told.stderr
    told = CliRunner().invoke(cli.main, ["predict", "--run", run, str(tmp_path / "none.png"), image])
    assert told.exit_code == 1 and told.stdout.startswith(image) and told.stderr.count("\n") == 1
    told = CliRunner().invoke(cli.main, ["embed", "--run", run, "-o", str(tmp_path / "none" / "v.npy"), image])
    assert told.exit_code == 1 and f"{tmp_path / 'none' / 'v.npy'}: cannot be written" in told.stderr
