"""The audit must fail for a planted leak of each kind, and for nothing else."""

import ast
import hashlib
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter
from sqlalchemy import Engine, delete, insert, select, update

from corpus_db import audit as auditing
from corpus_db import db, version
from corpus_db.gather import table
from corpus_db.models import now
from corpus_db.store import ImageStore
from tests.corpus_db.corpus import READERS, Filler, image

SPLITS = ("train", "val", "test")


def picture(seed: int, size: tuple[int, int] = (200, 180)) -> Image.Image:
    """A grey image of soft blobs in a black frame, unlike that of any other seed."""
    noise = np.random.default_rng(seed)
    rough = Image.fromarray(noise.integers(0, 256, (14, 14), np.uint8)).resize(size, Image.Resampling.BICUBIC)
    fine = Image.fromarray(noise.integers(0, 256, (60, 60), np.uint8)).resize(size, Image.Resampling.BICUBIC)
    values = np.asarray(Image.blend(rough, fine.filter(ImageFilter.GaussianBlur(1)), 0.2), np.float32)
    y, x = np.mgrid[-1 : 1 : size[1] * 1j, -1 : 1 : size[0] * 1j]
    return Image.fromarray(np.where(x**2 + y**2 < 0.85, 30 + 0.7 * values, 0).astype(np.uint8))


def encoded(shown: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    body = io.BytesIO()
    shown.save(body, form, **options)
    return body.getvalue()


@dataclass
class World:
    """A frozen version of one case a split, two images a case, with files, and what it takes to spoil it."""

    engine: Engine
    root: Path
    filler: Filler
    version_id: int = 0

    def store(self, key: str, body: bytes) -> tuple[str, str]:
        """Keep an image under a name of the source; its sha256 and path."""
        kept = ImageStore(self.root).put(body)
        columns = {name: getattr(kept, name) for name in ("bytes", "width", "height", "mode", "format", "path")}
        with self.engine.begin() as connection:
            known = select(table("image").c.sha256).where(table("image").c.sha256 == kept.sha256)
            if connection.execute(known).first() is None:
                connection.execute(insert(table("image")).values(sha256=kept.sha256, **columns))
        at = {"upstream_name": f"synpic{key}", "path": f"/images/full/synpic{key}.jpg", "seen_at": now()}
        self.filler.add("image_ref", source_id=self.filler.source_id, image_sha256=kept.sha256, **at)
        return kept.sha256, kept.path

    def rows(self) -> list[dict[str, Any]]:
        frozen = table("version_pair")
        with self.engine.connect() as connection:
            statement = select(frozen).where(frozen.c.version_id == self.version_id).order_by(frozen.c.pair_id)
            return [dict(row) for row in connection.execute(statement).mappings()]

    def change(self, key: str, **values: Any) -> None:
        """Change a frozen row, and the manifest with it: only the leak itself is to be found."""
        frozen = table("version_pair")
        with self.engine.begin() as connection:
            connection.execute(update(frozen).where(frozen.c.pair_id == f"medpix:{key}").values(**values))
        self.seal()

    def replace(self, key: str, body: bytes) -> None:
        """Other bytes for a pair, given by its source as well."""
        sha256, path = self.store(key, body)
        self.change(key, sha256=sha256, image_path=path)

    def recaption(self, key: str, caption: str) -> None:
        """Another caption for a pair, said by its source as well."""
        self.resay(f"case{key[0]}", lambda each: {**each, "caption": caption} if each["key"] == key else each)
        self.change(key, caption=caption)

    def resay(self, case: str, change: Callable[[dict[str, Any]], dict[str, Any]], **fields: Any) -> None:
        """Rewrite what the raw record of a case says of its images."""
        raw = table("raw_record")
        with self.engine.begin() as connection:
            body = connection.execute(select(raw.c.body).where(raw.c.key == case)).scalar_one()
            body = {**body, "images": [change(each) for each in body["images"]], **fields}
            connection.execute(update(raw).where(raw.c.key == case).values(body=json.dumps(body)))

    def seal(self, **config: Any) -> None:
        versions = table("version")
        manifest = version.manifest_sha256(map(version.row_sha256, self.rows()))
        with self.engine.begin() as connection:
            told = json.loads(connection.execute(select(versions.c.config)).scalar_one())
            values = {"manifest_sha256": manifest, "config": json.dumps({**told, **config})}
            connection.execute(update(versions).values(**values))

    def evaluate(self, body: bytes | None, name: str = "another") -> None:
        """An evaluation set of one image, which the version says it excludes."""
        sha256 = self.store(f"eval-{name}", body)[0] if body else None
        self.filler.add("source", name="quiz", shape="questions")
        with self.engine.connect() as connection:
            source_id = connection.execute(
                select(table("source").c.id).where(table("source").c.name == "quiz")
            ).scalar()
        asked = {"question": "Side?", "answer": "left", "split": "test", "language": "en"}
        self.filler.add("question", source_id=source_id, upstream_id="1", image_name=name, image_sha256=sha256, **asked)
        self.seal(exclude=["quiz:test"], exclude_cases=True)

    def bytes_of(self, key: str) -> bytes:
        return self.path_of(key).read_bytes()

    def path_of(self, key: str) -> Path:
        (row,) = (row for row in self.rows() if row["pair_id"] == f"medpix:{key}")
        return self.root / row["image_path"]

    def audit(self) -> auditing.Audit:
        return auditing.audit(self.engine, readers=READERS)


@pytest.fixture
def world(fresh_db: str) -> Iterator[World]:
    engine = db.create(fresh_db)
    made = World(engine, db.image_root(engine.url), Filler(engine))
    frozen = []
    for number, split in enumerate(SPLITS):
        case = f"case{number}"
        keys = [f"{number}1", f"{number}2"]
        captions = [f"Axial CT of patient number {key} shows a mass." for key in keys]
        listed = [image(key, case, caption) for key, caption in zip(keys, captions, strict=True)]
        made.filler.case(case, *listed, patient_key=f"p{number}")
        for key, caption in zip(keys, captions, strict=True):
            sha256, path = made.store(key, encoded(picture(int(key))))
            frozen.append(frozen_row(key, case, number, split, caption, sha256, path))
    with engine.begin() as connection:
        config: dict[str, Any] = {"algorithms": {}, "exclude": []}
        made.version_id = version.freeze(connection, frozen, "v1", config).id
    yield made
    engine.dispose()


def frozen_row(key: str, case: str, number: int, split: str, caption: str, sha256: str, path: str) -> dict[str, Any]:
    group = hashlib.sha256(caption.encode()).hexdigest()[:16]
    where = {"image_path": path, "sha256": sha256, "duplicate_cluster": sha256[:16], "split": split}
    named = {"pair_id": f"medpix:{key}", "source_id": key, "upstream_name": f"synpic{key}", "source": "medpix"}
    empty = dict.fromkeys(("plane", "region", "laterality", "title", "diagnosis", "credit", "licence", "split_group"))
    said = {"caption": caption, "caption_group": group, "modality": "CT"}
    return {**empty, **named, **where, **said, "case_id": f"medpix:{case}", "patient_key": f"medpix:p{number}"}


def half(shown: Image.Image) -> Image.Image:
    return shown.resize((shown.width // 2, shown.height // 2), Image.Resampling.LANCZOS)


def cropped(shown: Image.Image) -> Image.Image:
    x, y = round(0.03 * shown.width), round(0.03 * shown.height)
    return shown.crop((x, y, shown.width - x, shown.height - y))


COPIES: dict[str, Callable[[Image.Image], bytes]] = {
    "reencoded": lambda shown: encoded(shown, "JPEG", quality=50),
    "halved": lambda shown: encoded(half(shown)),
    "cropped": lambda shown: encoded(cropped(shown)),
    "brightened": lambda shown: encoded(shown.point(lambda level: min(255, round(1.1 * level)))),
    "rewindowed": lambda shown: encoded(shown.point(lambda level: round(255 * (level / 255) ** 0.7))),
}


def patient(world: World) -> None:
    world.resay("case2", lambda each: each, patient_key="p0")
    for key in ("21", "22"):
        world.change(key, patient_key="medpix:p0")


def repeated(world: World) -> None:
    world.replace("02", world.bytes_of("01"))
    world.recaption("02", "Axial CT of patient number 01 shows a mass.")


def near(copy: Callable[[Image.Image], bytes]) -> Callable[[World], None]:
    return lambda world: world.replace("21", copy(picture(1)))


def excluded_near(copy: Callable[[Image.Image], bytes]) -> Callable[[World], None]:
    return lambda world: world.evaluate(copy(picture(1)))


def tampered_row(world: World) -> None:
    frozen = table("version_pair")
    with world.engine.begin() as connection:
        connection.execute(update(frozen).where(frozen.c.pair_id == "medpix:01").values(diagnosis="Healthy"))


def altered_bytes(world: World) -> None:
    body = bytearray(world.bytes_of("01"))
    body[-20] ^= 1
    world.path_of("01").write_bytes(body)


def lost_row(world: World) -> None:
    frozen = table("version_pair")
    with world.engine.begin() as connection:
        connection.execute(delete(frozen).where(frozen.c.pair_id == "medpix:01"))


def listed_in_case(world: World) -> None:
    """The evaluation image is in the case of a pair, but no pair itself."""
    world.store("extra", encoded(picture(99)))
    hidden = image("extra", "case0", withheld=None)
    raw = table("raw_record")
    with world.engine.begin() as connection:
        body = connection.execute(select(raw.c.body).where(raw.c.key == "case0")).scalar_one()
        body["images"].append(hidden)
        connection.execute(update(raw).where(raw.c.key == "case0").values(body=json.dumps(body)))
    world.evaluate(encoded(picture(99)))


def resplit_all(world: World) -> None:
    world.change("01", split="training")
    world.change("02", split="training")


LEAKS: dict[str, tuple[Callable[[World], None], set[str]]] = {
    "case": (lambda world: world.change("01", split="test"), {"split_case", "split_patient"}),
    "patient": (patient, {"split_patient"}),
    "bytes": (lambda world: world.replace("21", world.bytes_of("01")), {"split_bytes"}),
    "pixels": (lambda world: world.replace("21", encoded(picture(1), "BMP")), {"split_pixels"}),
    "pixels in colour": (lambda world: world.replace("21", encoded(picture(1).convert("RGB"))), {"split_pixels"}),
    **{f"near {name}": (near(copy), {"split_near"}) for name, copy in COPIES.items()},
    "caption": (
        lambda world: world.recaption("21", "AXIAL CT of patient  number 01 shows a mass."),
        {"split_caption"},
    ),
    "repeated pair": (
        repeated,
        {"repeated_pairs"},
    ),
    "excluded by name": (lambda world: world.evaluate(None, "Synpic01.jpg"), {"excluded_name", "excluded_case"}),
    "excluded by bytes": (lambda world: world.evaluate(world.bytes_of("01")), {"excluded_bytes", "excluded_case"}),
    "excluded by pixels": (
        lambda world: world.evaluate(encoded(picture(1), "BMP")),
        {"excluded_pixels", "excluded_case"},
    ),
    **{
        f"excluded near {name}": (excluded_near(copy), {"excluded_near", "excluded_case"})
        for name, copy in COPIES.items()
    },
    "excluded by case": (listed_in_case, {"excluded_case"}),
    "excluded set gone": (lambda world: world.seal(exclude=["quiz:test"]), {"excluded_sets"}),
    "altered bytes": (altered_bytes, {"altered_images"}),
    "missing bytes": (lambda world: world.path_of("01").unlink(), {"missing_images"}),
    "bytes of another image": (lambda world: world.change("01", **other_bytes(world)), {"raw_records"}),
    "a path that climbs": (lambda world: world.change("01", image_path="../../etc/passwd"), {"missing_images"}),
    "tampered row": (tampered_row, {"manifest"}),
    "lost row": (lost_row, {"manifest"}),
    "unknown split": (resplit_all, {"split_names"}),
    "altered raw case": (
        lambda world: world.resay("case0", lambda each: each, key="case9"),
        {"raw_records"},
    ),
    "altered raw name": (lambda world: world.resay("case0", lambda each: {**each, "name": "other"}), {"raw_records"}),
    "hidden upstream": (
        lambda world: world.resay("case0", lambda each: {**each, "withheld": "hidden"}),
        {"raw_records"},
    ),
    "altered raw caption": (
        lambda world: world.resay("case0", lambda each: {**each, "caption": "Nothing."}),
        {"captions"},
    ),
    "taken down": (lambda world: world.filler.add("tombstone", pair_id="medpix:01", at=now()), {"taken_down"}),
}


def other_bytes(world: World) -> dict[str, str]:
    sha256, path = world.store("stray", encoded(picture(77)))
    return {"sha256": sha256, "image_path": path}


def test_a_clean_version_holds(world: World) -> None:
    found = world.audit()
    assert [(check.name, check.examples) for check in found.broken] == []
    assert not found.failed
    assert found.pairs == 6


@pytest.mark.parametrize("kind", LEAKS)
def test_a_planted_leak_of_each_kind_fails_it(world: World, kind: str) -> None:
    plant, names = LEAKS[kind]
    plant(world)
    found = world.audit()
    assert found.failed
    assert {check.name for check in found.broken} == names
    assert all(check.examples for check in found.broken)


def test_a_short_caption_in_two_splits_is_no_leak(world: World) -> None:
    for key in ("01", "21"):
        world.recaption(key, "Axial CT.")
    assert not world.audit().failed


def test_an_older_version_is_held_to_what_its_source_said_then(world: World) -> None:
    world.filler.said("encounter", {"key": "case0", "images": []})
    raw = table("raw_record")
    with world.engine.begin() as connection:
        later = now().replace(year=now().year + 1)
        newest = select(raw.c.id).order_by(raw.c.id.desc()).limit(1).scalar_subquery()
        connection.execute(update(raw).where(raw.c.id == newest).values(seen_at=later))
    found = world.audit()
    assert not found.failed
    (changed,) = (check for check in found.checks if check.name == "changed_upstream")
    assert (changed.count, changed.fatal) == (2, False)


def test_notes_do_not_fail_it(world: World) -> None:
    world.recaption("01", "CT.")
    world.replace("02", encoded(picture(2, (40, 40))))
    found = auditing.audit(world.engine, readers=READERS, min_words=2, min_pixels=41)
    counts = {check.name: check.count for check in found.checks if not check.fatal}
    assert not found.failed
    assert counts["short_captions"] == counts["small_images"] == 1
    assert counts["no_licence"] == counts["no_credit"] == 6


def test_an_audit_is_told_as_lines_as_values_and_as_markdown(world: World) -> None:
    world.path_of("01").unlink()
    found = world.audit()
    lines = auditing.render_audit(found)
    assert lines[0] == "Version v1: 6 pairs; it does not hold."
    assert any(line.startswith("FAIL missing_images") for line in lines)
    assert json.loads(json.dumps(auditing.plain(found)))["failed"] is True
    assert "| missing_images | images whose file is not there | 1 (fails) |" in auditing.audit_markdown(found)
    assert "medpix:01" not in auditing.audit_markdown(found)


def test_it_shares_no_code_with_what_it_audits() -> None:
    forbidden = {"split", "dedup", "alike", "phash", "exclude", "build", "repeats", "measure", "curate"}
    package = Path(auditing.__file__).parent
    waiting, read = ["audit"], set()
    while waiting:
        name = waiting.pop()
        read.add(name)
        for node in ast.walk(ast.parse((package / f"{name}.py").read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("corpus_db"):
                inner = (node.module or "").partition(".")[2]
                named = [inner.partition(".")[0]] if inner else [alias.name for alias in node.names]
                waiting += [each for each in named if each not in read and (package / f"{each}.py").is_file()]
    assert {"audit", "audit_images", "audit_leaks", "audit_near", "audit_raw"} <= read
    assert not read & forbidden
