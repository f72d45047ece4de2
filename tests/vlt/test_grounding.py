import numpy as np
import pytest
import torch

from tests.vlt import tiny
from vlt import grounding
from vlt.grounding import evaluate, wrong_images
from vlt.model import Fused
from vlt.words import WordClass


class Split:
    """Pairs in memory in the place of a packed split: image i is i / 8 grey all over."""

    def __init__(self, kinds=2):
        self.whole = tiny.batch()
        self.whole.images[:] = torch.arange(8, dtype=torch.uint8)[:, None, None, None] * 30
        self.whole.kind[:] = torch.arange(8) % kinds
        self.whole.classes[:, 3] = WordClass.FINDING
        self.whole.classes[:, 4] = WordClass.SIDE
        self.signatures = np.arange(8)

    def __len__(self):
        return 8

    def batch(self, rows):
        fields = vars(self.whole).items()
        return type(self.whole)(**{k: v[torch.from_numpy(rows)] if torch.is_tensor(v) else v for k, v in fields})


class Oracle:
    """Knows each pair by the brightness of its image, and answers with that pair's words."""

    training = False

    def __init__(self, split, looks=True, objectives=("mlm", "itm")):
        self.config = tiny.config(objectives=dict.fromkeys(objectives, 1.0))
        self.split, self.looks = split, looks

    def eval(self):
        return self

    def train(self, _):
        return self

    def encode_image(self, images):
        return (images[:, :, 0, 0].float() / 30).round()[:, :, None]  # B, 1, 1: the number of the pair

    def encode_text(self, tokens, present, mask="bidirectional"):
        return tokens

    def fuse(self, text, image, present, mask="bidirectional"):
        return Fused(text, image[:, 0, 0].long() if self.looks else torch.zeros(len(text), dtype=torch.long))

    def word_logits(self, pairs):
        return torch.nn.functional.one_hot(pairs, len(tiny.TOKENIZER)).float()

    def match_logits(self, text, image, present):
        text, pairs = self.fuse(text, image, present)
        known = self.split.whole.tokens[pairs][:, : text.shape[1]]
        return torch.nn.functional.one_hot((known == text).all(1).long(), 2).float()


class Answering(Oracle):
    def fuse(self, text, image, present, mask="bidirectional"):
        pairs = super().fuse(text, image, present).image
        return Fused(self.split.whole.tokens[pairs][:, : text.shape[1]], pairs)


class Matching(Oracle):
    pass


def test_a_model_that_reads_its_image_has_the_whole_gap_and_a_blind_one_none():
    split = Split()
    seeing = evaluate(Answering(split, objectives=("mlm",)), split, tiny.TOKENIZER, torch.device("cpu"))
    assert seeing["content_right"] == seeing["hard_right"] == seeing["side_right"] == 1.0
    assert seeing["gap"] > 0.5 and seeing["hard_gap"] > 0.5
    assert seeing["hard_gap"] == pytest.approx(seeing["hard_right"] - seeing["hard_wrong"])
    blind = evaluate(Answering(split, looks=False, objectives=("mlm",)), split, tiny.TOKENIZER, torch.device("cpu"))
    assert blind["gap"] == blind["hard_gap"] == blind["finding_gap"] == blind["side_gap"] == 0.0


def test_matching_is_perfect_for_a_model_that_knows_and_chance_for_one_that_says_yes_to_all():
    split = Split()
    knowing = evaluate(Matching(split, objectives=("itm",)), split, tiny.TOKENIZER, torch.device("cpu"))
    assert knowing["itm"] == knowing["itm_hard"] == knowing["itm_told"] == 1.0
    saying_yes = Matching(split, objectives=("itm",))
    saying_yes.match_logits = lambda text, image, present: torch.tensor([[0.0, 1.0]]).expand(len(text), 2)
    scores = evaluate(saying_yes, split, tiny.TOKENIZER, torch.device("cpu"))
    assert scores["itm"] == scores["itm_hard"] == 0.5


def test_a_wrong_image_shares_nothing_and_a_hard_one_the_kind():
    ids = {key: np.arange(6) for key in ("image_id", "caption_id", "case_id", "cluster_id")}
    ids |= {"case_id": np.array([0, 0, 1, 1, 2, 3]), "kind": np.array([0, 0, 0, 0, 0, 1])}
    chance = np.random.default_rng(0)
    for _ in range(20):
        wrong = wrong_images(ids, chance)
        assert (ids["case_id"][wrong] != ids["case_id"]).all()
        hard = wrong_images(ids, chance, hard=True)
        assert hard[5] == -1 and (ids["kind"][hard[:5]] == 0).all()


def test_a_pair_without_a_kind_has_no_hard_negative():
    ids = {key: np.arange(2) for key in ("image_id", "caption_id", "case_id", "cluster_id")}
    assert wrong_images(ids | {"kind": np.array([-1, -1])}, np.random.default_rng(0), hard=True).tolist() == [-1, -1]


def test_a_captioner_is_asked_for_each_next_word():
    split = Split()

    class Captioner(Answering):
        def word_logits(self, tokens):  # position i tells token i + 1
            return super().word_logits(torch.cat([tokens[:, 1:], tokens[:, :1]], dim=1))

    seeing = evaluate(Captioner(split, objectives=("lm",)), split, tiny.TOKENIZER, torch.device("cpu"))
    assert seeing["content_right"] == 1.0 and seeing["gap"] > 0.5


def test_two_evaluations_agree_whatever_was_drawn_between():
    settings = tiny.config()
    model, split = tiny.model(settings), Split()
    first = evaluate(model, split, tiny.TOKENIZER, torch.device("cpu"))
    torch.rand(5)
    assert first == evaluate(model, split, tiny.TOKENIZER, torch.device("cpu"))
    assert model.training


def test_of_a_large_split_the_same_evenly_spaced_pairs_are_taken(monkeypatch):
    monkeypatch.setattr(grounding, "LIMIT", 4)
    split = Split()
    rows = []
    batch = split.batch
    split.batch = lambda asked: rows.extend(asked) or batch(asked)
    evaluate(tiny.model(tiny.config()), split, tiny.TOKENIZER, torch.device("cpu"))
    assert rows == [0, 2, 5, 7]
