import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from corpus_db.read import UserError
from tests.vlt import tiny
from vlt.metrics.retrieval import render
from vlt.tasks import retrieval
from vlt.tasks.retrieval import Cost, evaluate, features, rerank, search

CPU = torch.device("cpu")


class Split:
    """Pairs in memory in the place of a packed split; the first of them have a caption each, then they repeat."""

    def __init__(self, count=8, order=None):
        self.whole = tiny.batch(count)
        self.whole.caption_id[:] = torch.arange(count) % len(tiny.CAPTIONS)
        self.whole.case_id[:] = torch.arange(count) // 2
        self.order = torch.arange(count) if order is None else torch.as_tensor(order)
        self.pairs = [SimpleNamespace(split="validation")] * count

    def __len__(self):
        return len(self.order)

    def images(self, rows):
        return self.whole.images[self.order[torch.from_numpy(rows)]]

    def batch(self, rows, images=True):
        picked = self.order[torch.from_numpy(rows)]
        return self.whole.mapped(lambda tensor: tensor[picked])


class Knowing:
    """Tells a pair by the brightness of its image and the first word of its caption; counts what it is asked."""

    training = False

    def __init__(self, split, objectives=("itc", "itm"), knows_itc=True, knows_itm=True):
        self.config = tiny.config(objectives=dict.fromkeys(objectives, 1.0))
        self.knows_itc, self.knows_itm = knows_itc, knows_itm
        count = len(split)
        split.whole.images[:] = torch.arange(count, dtype=torch.uint8)[:, None, None, None]
        split.whole.tokens[:, 1] = torch.arange(count)
        self.count, self.images, self.texts, self.crosses = count, 0, 0, []

    def eval(self):
        return self

    def train(self, _):
        return self

    def encode_image(self, images):
        self.images += len(images)
        return images[:, :, 0, 0].float()[:, :, None].expand(-1, 2, self.config.width)

    def encode_text(self, tokens, present, mask="bidirectional"):
        self.texts += len(tokens)
        return tokens[:, :, None].float().expand(-1, -1, self.config.width)

    def unit(self, numbers):
        hot = torch.nn.functional.one_hot(numbers.long(), self.count).float()
        return hot if self.knows_itc else torch.ones_like(hot) / self.count**0.5

    def embed_image(self, image):
        return self.unit(image[:, 0, 0])

    def embed_text(self, text):
        return self.unit(text[:, 1, 0])

    def match_logits(self, text, image, present):
        pairs = list(zip(image[:, 0, 0].int().tolist(), text[:, 1, 0].int().tolist(), strict=True))
        self.crosses += pairs
        yes = torch.tensor([float(self.knows_itm and one == other) for one, other in pairs])
        return torch.stack([-yes, yes], dim=1)


def test_a_model_that_knows_finds_all_and_one_that_scores_all_alike_gets_chance():
    split = Split()
    knowing = evaluate(Knowing(split), split, CPU, k=3, exact=True)
    blank = Knowing(split, knows_itc=False, knows_itm=False)
    guessing = evaluate(blank, split, CPU, k=3, exact=True)
    for way in ("image_to_text", "text_to_image"):
        for method in ("itc", "rerank", "exact"):
            assert knowing["scores"][way][method]["strict"]["r1"] == 1.0
            assert knowing["scores"][way][method]["strict"]["median_rank"] == 1.0
        for method in ("itc", "exact"):
            told = guessing["scores"][way][method]["strict"]
            assert {name: told[name] for name in guessing["chance"]["strict"]} == guessing["chance"]["strict"]
        assert guessing["scores"][way]["rerank"]["strict"]["r1"] == pytest.approx(1 / 8)
    assert guessing["chance"]["strict"]["r1"] == pytest.approx(1 / 8)


def test_each_image_and_caption_is_encoded_once_and_k_of_a_query_are_fused():
    split = Split()
    model = Knowing(split)
    result = evaluate(model, split, CPU, k=3, batch_size=3)
    assert model.images == model.texts == result["cost"]["images"] == result["cost"]["texts"] == 8
    assert len(model.crosses) == len(set(model.crosses)) == result["cost"]["crosses"]["rerank"] <= 2 * 8 * 3
    assert "exact" not in result["cost"]["crosses"] and "exact" not in result["scores"]["image_to_text"]
    evaluate(model, split, CPU, k=3, exact=True)
    assert model.images == model.texts == 16


def test_equal_images_and_equal_captions_are_encoded_and_fused_once():
    split = Split(24)
    model = tiny.model(tiny.config()).eval()
    split.whole.image_id[:] = torch.arange(24) // 2
    split.whole.images[1::2] = split.whole.images[::2]
    cost = Cost()
    found = features(model, split, CPU, cost=cost)
    assert (cost.images, cost.texts) == (12, 8)
    assert len(found.image_of) == len(found.text_of) == 24
    rerank(model, found, search(found), 99, cost=cost)
    assert cost.crosses["rerank"] == 12 * 8


def test_what_is_kept_is_what_the_model_says_of_each_pair_alone():
    split, model = Split(), tiny.model(tiny.config()).eval()
    found = features(model, split, CPU, batch_size=3)
    similar = search(found)
    margins = retrieval.exact(model, found, batch_size=3)["image_to_text"].scores
    with torch.no_grad():
        for image in range(8):
            for text in range(8):
                tokens, present = split.whole.tokens[text : text + 1], split.whole.present[text : text + 1]
                seen = model.encode_image(split.whole.images[image : image + 1])
                words = model.encode_text(tokens, present)
                no, yes = model.match_logits(words, seen, present)[0].tolist()
                where = found.image_of[image], found.text_of[text]
                alike = float(model.embed_image(seen) @ model.embed_text(words).T)
                assert similar[where] == pytest.approx(alike, abs=1e-5)
                assert margins[where] == pytest.approx(yes - no, abs=1e-4)


def test_reranking_the_whole_pool_is_exact_and_of_the_rest_the_order_stays():
    split, model = Split(), tiny.model(tiny.config(), seed=3).eval()
    result = evaluate(model, split, CPU, k=8, exact=True)
    for way in ("image_to_text", "text_to_image"):
        assert result["scores"][way]["rerank"] == result["scores"][way]["exact"]
    found = features(model, split, CPU)
    similar, every = search(found), retrieval.exact(model, found)
    for way, scored in rerank(model, found, similar, 3).items():
        before = similar if way == "image_to_text" else similar.T
        for query, row in enumerate(scored.rows(np.arange(8))):
            old, new = np.argsort(-before[query]), np.argsort(-row)
            assert new[3:].tolist() == old[3:].tolist()
            assert new[:3].tolist() == sorted(old[:3], key=lambda one: -every[way].scores[query, one])


def test_what_was_reranked_stands_before_the_rest_however_unlikely_a_pair():
    one = retrieval.Scored(np.array([[0.9, 0.8, 0.7]]), np.array([[0, 1]]), np.array([[-5.0, -4.0]]))
    assert np.argsort(-one.rows(np.array([0]))[0]).tolist() == [1, 0, 2]


def test_ranks_are_those_of_a_plain_loop():
    split, model = Split(), tiny.model(tiny.config(), seed=1).eval()
    found = features(model, split, CPU)
    similar = search(found)
    ranks = [1 + sum(similar[i, j] > similar[i, found.text_of[p]] for j in range(8)) for p, i in enumerate(range(8))]
    told = evaluate(model, split, CPU)["scores"]["image_to_text"]["itc"]["strict"]
    assert told["r1"] == pytest.approx(np.mean(np.array(ranks) <= 1))
    assert told["r5"] == pytest.approx(np.mean(np.array(ranks) <= 5))
    assert told["median_rank"] == np.median(ranks)


def test_a_repeated_caption_ties_with_its_copies_and_grouped_counts_them():
    split = Split(24)
    for one in ("image_id", "cluster_id", "case_id"):
        getattr(split.whole, one)[:] = torch.arange(24)
    result = evaluate(tiny.model(tiny.config()), split, CPU)
    for scores in result["scores"].values():
        for by_counting in scores.values():
            for k in ("r1", "r5", "r10"):
                assert by_counting["grouped"][k] >= by_counting["strict"][k] - 1e-12
    told = result["scores"]["image_to_text"]["itc"]  # each caption thrice
    assert told["strict"]["r1"] == pytest.approx(told["grouped"]["r1"] / 3)
    assert result["chance"]["grouped"]["r1"] == pytest.approx(3 / 24)


@pytest.mark.parametrize("shared", ["caption_id", "image_id", "cluster_id"])
def test_pairs_that_share_a_caption_an_image_or_a_cluster_answer_for_each_other(shared):
    ids = {name: np.arange(4) for name in ("caption_id", "image_id", "cluster_id", "case_id")}
    ids[shared] = np.array([0, 1, 0, 3])
    right = retrieval.answers(ids, np.arange(4), "grouped")
    assert np.argwhere(right & ~np.eye(4, dtype=bool)).tolist() == [[0, 2], [2, 0]]
    assert (retrieval.answers(ids, np.array([2, 0]), "strict") == np.eye(4, dtype=bool)[[2, 0]]).all()
    assert not retrieval.answers(ids | {"case_id": np.zeros(4)}, np.array([1]), "grouped")[0, 0]


def test_a_permutation_of_the_pairs_changes_nothing():
    model, order = tiny.model(tiny.config()), np.random.default_rng(0).permutation(24)
    one, other = (evaluate(model, Split(24, some), CPU, k=3) for some in (None, order))
    for part in ("scores", "chance"):
        assert_same(one[part], other[part])


def assert_same(one, other):
    if not isinstance(one, dict):
        assert other == pytest.approx(one)
        return
    assert one.keys() == other.keys()
    for key in one:
        assert_same(one[key], other[key])


def test_of_a_larger_split_evenly_spaced_pairs_are_taken_and_the_mode_is_given_back():
    model = tiny.model(tiny.config()).train()
    result = evaluate(model, Split(24), CPU, limit=6)
    assert result["pool"] == result["images"] == 6 and model.training


def test_a_model_without_itc_is_ranked_by_itm_alone_where_that_is_asked_for():
    split = Split()
    with pytest.raises(UserError, match=r"no itc.*--exact"):
        evaluate(Knowing(split, objectives=("itm", "mlm")), split, CPU)
    result = evaluate(Knowing(split, objectives=("itm", "mlm")), split, CPU, exact=True)
    assert list(result["scores"]["image_to_text"]) == ["exact"]
    assert result["cost"]["crosses"] == {"exact": 64}
    assert "learned no itc" in result["left_out"][0]


def test_a_model_without_itm_is_not_reranked_and_one_without_both_refused():
    split = Split()
    result = evaluate(Knowing(split, objectives=("itc",)), split, CPU, exact=True)
    assert list(result["scores"]["text_to_image"]) == ["itc"] and result["cost"]["crosses"] == {}
    assert any("learned no itm" in line for line in render(result))
    with pytest.raises(UserError, match=r"lm.*needs itc or itm"):
        evaluate(Knowing(split, objectives=("lm",)), split, CPU)


def test_a_model_whose_scores_are_no_numbers_is_told():
    split, model = Split(), tiny.model(tiny.config())
    with torch.no_grad():
        model.heads["match"][2].bias.fill_(torch.nan)
    with pytest.raises(UserError, match="matching scores"):
        evaluate(model, split, CPU)
    with torch.no_grad():
        model.heads["image"].weight.fill_(torch.nan)
    with pytest.raises(UserError, match="embeddings"):
        evaluate(model, split, CPU)


def test_the_table_says_what_was_asked_of_what_and_what_it_cost():
    split = Split()
    result = evaluate(tiny.model(tiny.config()), split, CPU, k=3, exact=True)
    assert json.loads(json.dumps(result)) == result
    text = "\n".join(render(result))
    for told in ("validation split, zero-shot", "8 pairs", "strict", "grouped", "chance", "top 3", "median rank"):
        assert told in text
    assert "64 cross-encodings" in text and "of 64 that exact takes" in text and "R@10" in text
    assert text.count("12.50 ") >= 4  # chance at 1, in both directions and countings
    assert "fine-tuned" in "\n".join(render(result | {"tuned": True}))
    table = [line for line in text.splitlines() if line.startswith(("image to text", "text to image"))]
    assert len(table) == 2 * 2 * 4


def test_memory_is_that_of_what_is_kept():
    found = features(tiny.model(tiny.config()), Split(), CPU)
    before = found.bytes
    assert before > found.tokens.nbytes + found.text.nbytes
    assert replace(found, tokens=found.tokens[:4]).bytes == before - found.tokens.nbytes // 2


def looked_up(split, model, method, rows):
    """By way the row that stands first for each of `rows` among them, and the score that put it there, by a loop."""
    found, best = features(model, split, CPU, rows=rows), {}
    scores = search(found) if method == "itc" else retrieval.exact(model, found)["image_to_text"].scores
    ranked = {"image_to_text": scores, "text_to_image": scores.T}
    if method == "rerank":
        again = rerank(model, found, search(found), 3)
        ranked = {way: one.rows(np.arange(len(one.scores))) for way, one in again.items()}
    for way, order in ranked.items():
        own, other = (found.image_of, found.text_of) if way == "image_to_text" else (found.text_of, found.image_of)
        best[way] = []
        for place in range(len(rows)):
            first = max(range(len(rows)), key=lambda candidate: (order[own[place], other[candidate]], -candidate))
            score = scores[found.image_of[place], found.text_of[first]]
            if way == "text_to_image":
                score = scores[found.image_of[first], found.text_of[place]]
            best[way].append((int(rows[first]), pytest.approx(float(score), rel=1e-5)))
    return best


@pytest.mark.parametrize("method", ["itc", "rerank", "exact"])
@pytest.mark.parametrize("limit", [None, 7])
def test_what_stands_first_for_each_pair_is_that_of_a_plain_loop(method, limit):
    split = Split(12)  # four captions stand in it twice
    split.whole.image_id[:] = torch.arange(12) // 2  # and each image
    split.whole.images[1::2] = split.whole.images[::2]
    objectives = dict.fromkeys(("itc",) if method == "itc" else ("itc", "itm"), 1.0)
    model = tiny.model(tiny.config(objectives=objectives), seed=2).eval()
    rows = np.linspace(0, 11, limit or 12).round().astype(np.int64)
    found = evaluate(model, split, CPU, k=3, exact=method == "exact", limit=limit)["best"]
    assert (found["method"], found["rows"]) == (method, rows.tolist())
    for way, told in looked_up(split, model, method, rows).items():
        assert list(zip(found[way]["rows"], found[way]["scores"], strict=True)) == told, way


def test_for_a_model_that_knows_each_pair_stands_first_for_itself():
    split = Split()
    best = evaluate(Knowing(split, knows_itc=False), split, CPU, k=3, exact=True)["best"]
    assert best["method"] == "exact" and best["image_to_text"] == best["text_to_image"]
    assert best["image_to_text"] == {"rows": list(range(8)), "scores": [2.0] * 8}
