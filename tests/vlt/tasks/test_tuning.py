import numpy as np
import pytest
import torch

from tests.vlt import corpus, tiny
from vlt import tasks
from vlt.data import CorpusDataset
from vlt.pack import pack
from vlt.tasks import tuning
from vlt.tasks.pretraining import Pretraining
from vlt.tasks.tuning import Reporting, Retrieving

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("RGC_DATA", str(tmp_path / "data"))


@pytest.fixture
def validation(tmp_path):
    version = corpus.version(tmp_path / "images", train=1, val=24)
    return CorpusDataset(version, pack(version, 32), tiny.TOKENIZER, "val", max_tokens=24)


def test_writing_is_validated_by_how_likely_each_true_token_is(validation, monkeypatch):
    model = tiny.model(tiny.config(backbone="vit_nano", fusion_layers=1, dropout=0.2)).train()
    monkeypatch.setattr(tuning, "AT_ONCE", 10)
    found = Reporting([]).evaluate(model, validation, tiny.TOKENIZER, CPU)
    assert model.training
    model.eval()
    told, right = [], []
    for row in range(24):  # one caption at a time, without padding
        ids = validation[row]["tokens"][None]
        present = torch.ones_like(ids, dtype=torch.bool)
        with torch.no_grad():
            image = model.encode_image(validation[row]["image"][None])
            text = model.encode_text(ids, present, "seq2seq")
            logits = model.word_logits(model.fuse(text, image, present, "seq2seq").text)[0, :-1]
        told += logits.log_softmax(1).gather(1, ids[0, 1:, None])[:, 0].tolist()
        right += (logits.argmax(1) == ids[0, 1:]).tolist()
    assert found == {"likelihood": pytest.approx(np.mean(told), rel=1e-4), "words_right": pytest.approx(np.mean(right))}


def test_finding_is_validated_by_the_mean_recall_both_ways(validation):
    model = tiny.model(tiny.config(backbone="vit_nano", fusion_layers=1)).train()
    found = Retrieving([]).evaluate(model, validation, tiny.TOKENIZER, CPU)
    assert model.training
    model.eval()
    batch = validation.batch(np.arange(24))
    with torch.no_grad():
        images = model.embed_image(model.encode_image(batch.images))
        texts = model.embed_text(model.encode_text(batch.tokens, batch.present))
    similar = (images @ texts.T).numpy()
    recalls = {}
    for name, scores in (("i2t", similar), ("t2i", similar.T)):
        margin = scores - scores.diagonal()[:, None]
        ahead, tied = (margin > 1e-5).sum(1), (abs(margin) <= 1e-5).sum(1)  # captions of equal tokens, in random order
        recalls |= {f"{name}_{k}": float(((k - ahead) / tied).clip(0, 1).mean()) for k in (1, 5, 10)}
    assert len(set(recalls.values())) > 2
    assert found == pytest.approx({"recall": float(np.mean(list(recalls.values()))), **recalls})


def test_of_a_larger_validation_split_evenly_spaced_pairs_are_taken(validation, monkeypatch):
    assert tuning._some(validation).tolist() == list(range(24))
    monkeypatch.setattr(tuning, "LIMIT", 4)
    assert tuning._some(validation).tolist() == [0, 8, 15, 23]
    model = tiny.model(tiny.config(backbone="vit_nano", fusion_layers=1))
    few = Retrieving([]).evaluate(model, validation, tiny.TOKENIZER, CPU)
    assert few["i2t_5"] == few["t2i_10"] == 1.0  # of four


@pytest.mark.parametrize(
    ("task", "kind", "score"),
    [("pretrain", Pretraining, ""), ("retrieval", Retrieving, "recall"), ("report", Reporting, "likelihood")],
)
def test_a_run_knows_its_task_and_by_what_its_best_weights_are_chosen(tmp_path, monkeypatch, task, kind, score):
    run, corpora = corpus.begun(tmp_path, task=task)
    monkeypatch.setattr("corpus_db.read.version", lambda name, db: corpora[0].version)
    found = tasks.of(run)
    assert type(found) is kind and found.chosen_by == score
    assert found.told() == [corpora[0].told()] == run.corpora and not found.answers
