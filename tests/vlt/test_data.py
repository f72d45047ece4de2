import dataclasses
import threading

import numpy as np
import pytest
import torch

from corpus_db.read import UserError
from tests.vlt.pictures import pixels, version
from vlt import captions as captioning
from vlt.augment import DRAWS
from vlt.captions import captions
from vlt.data import Batch, Batches, CorpusDataset, joined
from vlt.order import GROUP
from vlt.pack import letterbox, pack
from vlt.text import Tokenizer
from vlt.words import WordClass

SIZE = 16


@pytest.fixture(autouse=True)
def data_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("RGC_DATA", str(tmp_path / "data"))


@pytest.fixture
def corpus(tmp_path):
    return version(tmp_path / "images", 40)


@pytest.fixture
def tokenizer(corpus):
    return Tokenizer.train([pair.caption for pair in corpus.pairs], 300)


def dataset(corpus, tokenizer, split="train", **settings):
    return CorpusDataset(corpus, pack(corpus, SIZE), tokenizer, split, **settings)


def as_drawn(batch, generator, number):
    return batch


def with_chance(batch, generator, number):
    """A stand-in for `objectives.draw`."""
    labels = torch.where(batch.present & (torch.rand(batch.tokens.shape, generator=generator) < 0.3), 1, -100)
    uniforms = torch.rand(len(batch.rows), 4, generator=generator)
    return dataclasses.replace(batch, mlm_tokens=batch.tokens, mlm_labels=labels, uniforms=uniforms)


def batches(data, batch_size=8, seed=1, prepare=as_drawn, **settings):
    sets = data if isinstance(data, list) else [(data, 1.0)]
    return Batches(sets, batch_size, seed, prepare, **settings)


def tensors(batch):
    found = {field.name: getattr(batch, field.name) for field in dataclasses.fields(Batch)}
    return {name: value for name, value in found.items() if isinstance(value, torch.Tensor)}


def same(one, other):
    one, other = tensors(one), tensors(other)
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def glued(parts):
    return Batch(**{name: torch.cat([tensors(part)[name] for part in parts]) for name in tensors(parts[0])})


def test_a_split_is_a_torch_dataset_of_its_pairs(corpus, tokenizer):
    data = dataset(corpus, tokenizer, "val")
    assert isinstance(data, torch.utils.data.Dataset) and len(data) == 8
    for row, pair in enumerate(pair for pair in corpus.pairs if pair.split == "val"):
        one = data[row]
        assert (one["caption"], one["pair_id"]) == (pair.caption, pair.pair_id)
        assert one["tokens"].tolist() == tokenizer.encode(pair.caption, 80).ids
        assert one["image"].shape == (1, SIZE, SIZE) and one["image"].dtype == torch.uint8
    assert data[-1]["pair_id"] == data[7]["pair_id"]
    assert len(list(data)) == 8
    with pytest.raises(IndexError):
        data[8]


def test_a_split_without_pairs_is_refused(corpus, tokenizer):
    with pytest.raises(UserError, match="test split holds no pair"):
        dataset(corpus, tokenizer, "test")


def test_pairs_whose_image_cannot_be_read_are_left_out(corpus, tokenizer):
    with open(corpus.pairs[0].image_path, "wb"):
        pass
    assert len(dataset(corpus, tokenizer)) == 31


@pytest.mark.parametrize("channels", [1, 3])
def test_images_have_the_channels_asked_for(corpus, tokenizer, channels):
    data = dataset(corpus, tokenizer, channels=channels)
    images = data.batch(np.array([1, 3])).images.numpy()  # a grey and a colour one
    assert images.shape == (2, channels, SIZE, SIZE)
    grey, colour = letterbox(pixels(1), SIZE), letterbox(pixels(3, True), SIZE)
    assert (images[0] == grey).all()
    luminance = (colour @ [0.299, 0.587, 0.114]).round()
    expected = colour.transpose(2, 0, 1) if channels == 3 else luminance[None]
    assert abs(images[1] - expected.astype(float)).max() <= 1 and (images[1] == expected).mean() > 0.99


def test_a_batch_is_its_rows_padded_to_the_longest(corpus, tokenizer):
    data = dataset(corpus, tokenizer)
    rows = np.array([5, 0, 7, 7])
    batch = data.batch(rows)
    length = batch.tokens.shape[1]
    assert length % 8 == 0 and length - 8 < batch.present.sum(1).max() <= length
    for place, row in enumerate(rows):
        encoded = tokenizer.encode(data.pairs[row].caption, 80)
        count = len(encoded.ids)
        assert batch.tokens[place].tolist() == encoded.ids + [tokenizer.pad] * (length - count)
        assert batch.words[place].tolist() == encoded.words + [-1] * (length - count)
        assert batch.present[place].tolist() == [True] * count + [False] * (length - count)
        assert torch.equal(batch.images[place], data[row]["image"])
    assert batch.rows.tolist() == rows.tolist()
    assert not batch.classes[batch.words < 0].any()


def test_a_tokens_class_is_that_of_its_word(corpus, tokenizer):
    data = dataset(corpus, tokenizer)
    row = next(row for row, pair in enumerate(data.pairs) if "cyst" in pair.caption)
    batch, words = data.batch(np.array([row])), tokenizer.word_strings(data.pairs[row].caption)
    pairs = zip(batch.words[0].tolist(), batch.classes[0].tolist(), strict=True)
    classed = {(words[word], kind) for word, kind in pairs if word >= 0}
    assert {("cyst", WordClass.FINDING), ("left", WordClass.SIDE), ("8", WordClass.SIZE)} <= classed
    assert {("on", WordClass.FUNCTION), (".", WordClass.FUNCTION)} <= classed


def test_a_fixed_length_holds_for_every_batch(corpus, tokenizer):
    data = dataset(corpus, tokenizer, max_tokens=12, length=12)
    assert {data.batch(np.array([row])).tokens.shape for row in range(len(data))} == {(1, 12)}


def test_numbers_are_equal_where_the_things_are_in_any_corpus(corpus, tokenizer, tmp_path):
    data = dataset(corpus, tokenizer)
    batch = data.batch(np.arange(len(data)))
    for name, tell in {
        "image_id": lambda pair: pair.sha256,
        "caption_id": lambda pair: pair.caption_group,
        "case_id": lambda pair: pair.case_id,
        "cluster_id": lambda pair: pair.duplicate_cluster,
        "kind": lambda pair: pair.modality,
    }.items():
        numbers, things = getattr(batch, name).tolist(), [tell(pair) for pair in data.pairs]
        assert len(set(zip(numbers, things, strict=True))) == len(set(numbers)) == len(set(things))
    other = dataset(version(tmp_path / "other", 20, name="v2"), tokenizer).batch(np.arange(8))
    assert torch.equal(other.image_id, batch.image_id[:8]) and not torch.equal(other.case_id, batch.case_id[:8])


def test_pairs_without_a_known_modality_are_of_no_kind(tmp_path, tokenizer):
    data = dataset(version(tmp_path / "images", 10, modality=None), tokenizer)
    assert set(data.kind) == {-1}


def test_captions_that_say_the_same_have_one_signature(corpus, tokenizer):
    data = dataset(corpus, tokenizer)
    kinds = [pair.caption.partition(" Number")[0] for pair in data.pairs]
    assert len(set(zip(data.signatures.tolist(), kinds, strict=True))) == len(set(data.signatures.tolist())) == 3


def test_captions_are_encoded_once_for_a_tokenizer(corpus, tokenizer, monkeypatch):
    first = dataset(corpus, tokenizer).batch(np.arange(8))
    with monkeypatch.context() as patched:
        patched.setattr(captioning, "_encoded", None)
        assert same(dataset(corpus, tokenizer).batch(np.arange(8)), first)
        for changed in ({"max_tokens": 10}, {"split": "val"}):
            with pytest.raises(TypeError):
                dataset(corpus, tokenizer, **changed)
    other = Tokenizer.train([pair.caption for pair in corpus.pairs], 60)
    assert dataset(corpus, other).batch(np.arange(8)).tokens.shape != first.tokens.shape


@pytest.mark.parametrize("name", ["tokens", "offsets", "signatures"])
@pytest.mark.parametrize("damage", [lambda body: body[:-8], lambda body: b"", lambda body: body[:128]])
def test_damaged_captions_are_encoded_again(tmp_path, tokenizer, name, damage):
    texts = ["A cyst.", "A mass in the left lobe.", "Normal."]
    before = [array.tolist() for array in captions(tmp_path, texts, tokenizer, 80)]
    path = next(tmp_path.glob(f"*.{name}.npy"))
    path.write_bytes(damage(path.read_bytes()))
    assert [array.tolist() for array in captions(tmp_path, texts, tokenizer, 80)] == before


@pytest.mark.parametrize("name", ["tokens", "offsets", "signatures"])
def test_captions_that_do_not_fit_each_other_are_encoded_again(tmp_path, tokenizer, name):
    texts = ["A cyst.", "A mass in the left lobe.", "Normal."]
    before = [array.tolist() for array in captions(tmp_path, texts, tokenizer, 80)]
    path = next(tmp_path.glob(f"*.{name}.npy"))
    np.save(path, np.load(path)[..., :-1])
    assert [array.tolist() for array in captions(tmp_path, texts, tokenizer, 80)] == before


def test_many_captions_are_encoded_in_chunks_to_the_same(tmp_path, tokenizer, monkeypatch):
    texts = [f"A cyst of {number} mm." for number in range(23)]
    whole = [array.tolist() for array in captions(tmp_path / "a", texts, tokenizer, 80)]
    monkeypatch.setattr(captioning, "CHUNK", 5)
    assert [array.tolist() for array in captions(tmp_path / "b", texts, tokenizer, 80)] == whole


def test_an_epoch_takes_every_row_once_and_the_next_another_order(corpus, tokenizer):
    stream = batches(dataset(corpus, tokenizer))
    rows = np.concatenate([stream.rows(number)[0] for number in range(8)]).tolist()
    one, other = rows[:32], rows[32:]
    assert sorted(one) == sorted(other) == list(range(32)) and one != other != list(range(32))


@pytest.mark.parametrize("size", [7, 32, 100])
def test_batches_of_any_size_take_all_rows_equally_often(corpus, tokenizer, size):
    stream = batches(dataset(corpus, tokenizer), size)
    rows = np.concatenate([stream.rows(number)[0] for number in range(32)])
    assert (np.bincount(rows, minlength=32) == size).all()


def test_a_batch_depends_on_seed_and_number_alone(corpus, tokenizer):
    def fresh(seed=1):
        return batches(dataset(corpus, tokenizer), seed=seed, prepare=with_chance, hard=0.5)

    walked = fresh()
    for number in range(12):
        (went,) = walked.batch(number)
        assert same(went, fresh().batch(number)[0])
        assert not same(went, fresh(2).batch(number)[0]) and not same(went, walked.batch(number + 1)[0])
    assert fresh(-1).batch(0)  # NumPy alone would refuse this seed


def test_prepare_is_told_the_number_and_draws_for_the_batch_of_all_ranks(corpus, tokenizer):
    told = []

    def prepare(batch, generator, number):
        told.append((number, len(batch.rows), batch.images.shape[1], generator.initial_seed()))
        return batch

    for rank in range(2):
        batches(dataset(corpus, tokenizer), prepare=prepare, rank=rank, world=2, accumulate=2).batch(5)
    assert told[0] == told[1] and told[0][:3] == (5, 8, 0)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_ranks_and_parts_join_to_the_whole_batch(corpus, tokenizer, accumulate):
    data = dataset(corpus, tokenizer)
    (whole,) = batches(data, prepare=with_chance).batch(3)
    settings = {"prepare": with_chance, "accumulate": accumulate, "world": 2}
    shares = [batches(data, rank=rank, **settings).batch(3) for rank in range(2)]
    assert [len(parts) for parts in shares] == [accumulate] * 2
    ordered = [shares[rank][part] for part in range(accumulate) for rank in range(2)]
    assert same(glued(ordered), whole)
    for part in range(accumulate):
        seen = glued([shares[0][part], shares[1][part]])
        for rank in range(2):
            peers = shares[rank][part].peers
            assert all(torch.equal(peers[name], getattr(seen, name)) for name in ("image_id", "case_id", "kind"))
            assert peers["lm"] == seen.present[:, 1:].sum() and peers["mlm_labels"] == (seen.mlm_labels != -100).sum()
    assert whole.peers is None


def test_a_batch_that_cannot_be_cut_is_refused(corpus, tokenizer):
    with pytest.raises(UserError, match="batch_size 8 is no multiple of 3"):
        batches(dataset(corpus, tokenizer), world=3).batch(0)


def test_draws_for_augmentation_come_with_each_batch(corpus, tokenizer):
    stream = batches(dataset(corpus, tokenizer))
    (one,), (other,) = stream.batch(0), stream.batch(1)
    assert one.augment.shape == (8, DRAWS) and one.augment.min() >= 0 and one.augment.max() < 1
    assert not torch.equal(one.augment, other.augment)


@pytest.mark.parametrize("weights", [(1, 1), (3, 1), (1, 0.01), (0.33, 0.01, 0.66)])
def test_a_mix_gives_each_corpus_its_share_of_full_batches(corpus, tokenizer, tmp_path, weights):
    corpora = [version(tmp_path / str(number), 12 + 3 * number, name=f"v{number}") for number in range(len(weights))]
    sets = [(dataset(one, tokenizer), weight) for one, weight in zip(corpora, weights, strict=True)]
    stream = batches(sets, 10)
    drawn = [stream.rows(number) for number in range(200)]
    assert {sum(map(len, rows)) for rows in drawn} == {10}
    for which, (data, weight) in enumerate(sets):
        rows = np.concatenate([one[which] for one in drawn])
        assert len(rows) == pytest.approx(2000 * weight / sum(weights), abs=1)
        times = np.bincount(rows, minlength=len(data))
        assert times.max() - times.min() <= 1


def test_a_mixed_batch_names_and_shows_the_rows_of_its_corpora(corpus, tokenizer, tmp_path):
    sets = [(dataset(version(tmp_path / name, 12, name=name), tokenizer), 1.0) for name in ("v1", "v2")]
    stream = batches(sets, 8)
    (batch,) = stream.batch(2)
    names = [pair.pair_id for data, _ in sets for pair in data.pairs]
    shown = [names[row] for row in batch.rows.tolist()]
    assert {name.partition(":")[0] for name in shown} == {"v1", "v2"}
    assert stream.describe(batch) == f"{shown[0]}, {shown[1]}, {shown[2]} and 5 more"
    for place, row in enumerate(batch.rows.tolist()):
        data, at = (sets[0][0], row) if row < len(sets[0][0]) else (sets[1][0], row - len(sets[0][0]))
        assert torch.equal(batch.images[place], data[at]["image"])
        assert batch.tokens[place][batch.present[place]].tolist() == data[at]["tokens"].tolist()


def test_joined_batches_are_padded_to_the_longest(corpus, tokenizer):
    data = dataset(corpus, tokenizer)
    short = dataclasses.replace(
        data.batch(np.array([0])),
        **{name: getattr(data.batch(np.array([0])), name)[:, :5] for name in ("tokens", "present", "words", "classes")},
    )
    whole = joined([short, data.batch(np.array([1, 2]))], tokenizer.pad)
    assert whole.tokens.shape[0] == 3 and torch.equal(whole.tokens[0, :5], short.tokens[0])
    assert (whole.tokens[0, 5:] == tokenizer.pad).all() and (whole.words[0, 5:] == -1).all()
    assert not whole.present[0, 5:].any() and not whole.classes[0, 5:].any()


def test_hard_batches_are_of_different_cases(tmp_path, tokenizer):
    stream = batches(dataset(version(tmp_path / "images", 40, modality="CT"), tokenizer), GROUP, hard=1.0)
    for number in range(8):  # 32 rows of one kind: a batch is a group
        assert len(set(stream.batch(number)[0].case_id.tolist())) == GROUP


def test_a_stream_goes_on_from_any_step_and_ends_its_thread(corpus, tokenizer):
    stream = batches(dataset(corpus, tokenizer), prepare=with_chance)
    before = threading.active_count()
    begun = stream.stream(3)
    for number in range(3, 9):
        assert same(next(begun)[0], stream.batch(number)[0])
    begun.close()
    assert threading.active_count() == before


def test_an_error_in_making_a_batch_reaches_its_reader(corpus, tokenizer):
    def prepare(batch, generator, number):
        if number == 2:
            raise ZeroDivisionError("the third")
        return batch

    begun = batches(dataset(corpus, tokenizer), prepare=prepare).stream(0)
    next(begun), next(begun)
    with pytest.raises(ZeroDivisionError, match="the third"):
        next(begun)
    with pytest.raises(StopIteration):
        next(begun)
