import numpy as np
import pytest
import torch
from pycocoevalcap.bleu.bleu import Bleu

from tests.vlt import corpus, tiny
from vlt.data import CorpusDataset
from vlt.decode import Search
from vlt.metrics import text
from vlt.pack import pack
from vlt.predict import Model
from vlt.tasks import report
from vlt.tasks.report import constant, nearest, write

CPU = torch.device("cpu")
TRAINING = ["a mass in the left lung .", "no mass .", "the lungs are clear .", "no mass .", "a cyst ."]
VALIDATION = ["a mass in the right lung .", "the left lung is clear .", "no mass in the left lung ."]


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("RGC_DATA", str(tmp_path / "data"))


@pytest.fixture
def version(tmp_path):
    return corpus.version(tmp_path / "images", train=9, val=5)


def split(version, name):
    return CorpusDataset(version, pack(version, 32), tiny.TOKENIZER, name, max_tokens=24)


def bleu_4(said, references):
    told = {str(place): [one] for place, one in enumerate(references)}
    return Bleu(4).compute_score(told, {key: [said] for key in told}, verbose=0)[0][3]


def test_the_best_constant_is_that_of_a_search_through_all():
    found, score = constant(TRAINING, VALIDATION)
    scores = {one: bleu_4(one, VALIDATION) for one in TRAINING}
    assert found == max(scores, key=scores.__getitem__) == TRAINING[0]
    assert score == pytest.approx(scores[found])
    assert constant(TRAINING[::-1], VALIDATION) == (found, score)
    other = ["the lungs are clear .", "the lungs are clear and wide ."]
    assert constant(TRAINING, other)[0] == TRAINING[2]  # validation chooses, not what is frequent in training
    assert constant(["b c d e", "a b c d"], ["x"])[0] == "a b c d"  # of equals the first by its letters


def test_a_shortlist_is_made_on_some_of_validation_and_decided_on_all(monkeypatch):
    training = ["a b c d", "e f g h", "i j k l"]
    validation = ["e f g h", "a b c d", "i j k l", "a b c d", "e f g h"]
    monkeypatch.setattr(report, "LOOKED_AT", 3)  # of the first, the third and the fifth
    monkeypatch.setattr(report, "SHORTLIST", 1)
    assert constant(training, validation)[0] == "e f g h"
    monkeypatch.setattr(report, "SHORTLIST", 3)
    asked = []
    counts = text.bleu_counts
    monkeypatch.setattr(text, "bleu_counts", lambda told, said: asked.append(len(said)) or counts(told, said))
    assert constant(training, validation)[0] == "a b c d"  # as good on all as the other, and first by its letters
    assert asked == [3] * 3 + [5] * 3


def test_the_nearest_training_image_gives_its_text(version):
    settings = tiny.config(backbone="vit_nano", objectives={"itc": 1.0, "lm": 1.0})
    model = tiny.model(settings).eval()
    training, validation = split(version, "train"), split(version, "val")

    def unit(data, rows):
        with torch.no_grad():
            return [model.embed_image(model.encode_image(data.images(np.array([row]))))[0].numpy() for row in rows]

    known = unit(training, range(9))
    rows = np.array([3, 0, 4])
    by_hand = [max(range(9), key=lambda place, one=one: float(one @ known[place])) for one in unit(validation, rows)]
    assert nearest(model, training, validation, rows, CPU) == [training.pairs[place].caption for place in by_hand]
    everything = np.arange(9)
    own = [pair.caption for pair in training.pairs]
    assert nearest(model, training, training, everything, CPU) == own  # an image is nearest to itself
    blind = tiny.model(tiny.config(backbone="vit_nano", blind=True)).eval()
    assert len(set(nearest(blind, training, validation, rows, CPU))) == 1


def test_what_is_written_is_what_the_model_says_of_each_image(version, monkeypatch):
    model = tiny.model(tiny.config(backbone="vit_nano", fusion_layers=1)).eval()
    with torch.no_grad():
        model.word_bias.normal_(generator=torch.Generator().manual_seed(1))
    data, rows, search = split(version, "val"), np.array([4, 1, 0, 2]), Search(2, 0.5, 3)
    told = Model(model, tiny.TOKENIZER)
    paths = [data.pairs[row].image_path for row in rows]
    expected = told.captions(paths, 2, length_penalty=0.5, no_repeat=3)
    monkeypatch.setattr(report, "AT_ONCE", 3)
    found = write(model, data, rows, tiny.TOKENIZER, CPU, search)
    assert [said for said, _ in found] == expected and all(score < 0 for _, score in found)
