"""Describe the Parquet export in Croissant, the JSON-LD vocabulary by which machine-learning tools load a dataset.

Written by hand from its specification, 1.1 (https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html): a page
of JSON needs no library, and mlcroissant, with which the tests read it back, would bring pandas and rdflib along.
"""

import json
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any

from sqlalchemy import select

from corpus_db.export.folder import File, Part, whole
from corpus_db.export.snapshot import COLUMNS, Snapshot
from corpus_db.gather import table
from corpus_db.version import VersionRow

CROISSANT = "croissant.json"
_SAYS = {
    "pair_id": "The pair's key: source, the source's own id of the image, and the panel of a figure",
    "image_path": "Where the image lies in the corpus's store",
    "sha256": "Of the image bytes as they were received",
    "caption": "The caption, cleaned",
    "split": "train, val or test: no case, patient or duplicate image is in two of them",
    "case_id": "The case, study or article that the pair belongs to",
    "caption_group": "Equal for equal captions",
    "source": "The corpus that the pair came from",
    "source_id": "The source's own id of the image",
    "upstream_name": "The source's own name of the image",
    "credit": "Who is to be credited for the image",
    "licence": "The licence of the image; empty where its source states none",
    "duplicate_cluster": "Equal for one image under several names",
    "split_group": "Equal for all pairs that have to share a split",
    "image": "The image, its bytes as they were received",
}
_VOCABULARY = (
    *("arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "extract", "field", "fileProperty"),
    *("fileObject", "fileSet", "format", "includes", "isArray", "isLiveDataset", "jsonPath", "key", "md5"),
    *("parentField", "path", "recordSet", "references", "regex", "repeated", "replace", "samplingRate", "separator"),
    *("source", "subField", "transform"),
)
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    "description": {"@container": "@language"},
    **{name: f"cr:{name}" for name in _VOCABULARY},
}


def part(snapshot: Snapshot, files: Iterable[File], with_images: bool) -> Part:
    """croissant.json over the finished Parquet files."""
    text = json.dumps(description(snapshot, files, with_images), indent=1, ensure_ascii=False) + "\n"
    return whole(CROISSANT, text.encode())


def description(snapshot: Snapshot, files: Iterable[File], with_images: bool) -> dict[str, Any]:
    """The JSON-LD document: a record set a split, a field a column, and the image where its bytes are there."""
    files, version = list(files), snapshot.version
    sources = _sources(snapshot)
    citations = [row["citation"] for row in sources if row["citation"]]
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": f"rgc-{version.name}",
        "description": _summary(snapshot, with_images),
        "version": _number(version),
        "datePublished": version.created[:10],
        "creator": [_organization(row) for row in sources],
        "license": list(snapshot.licences),
        **({"citeAs": "\n".join(citations)} if citations else {}),
        "isLiveDataset": False,
        "distribution": [_file(file) for file in files],
        "recordSet": [_records(file, with_images) for file in files],
    }


def _summary(snapshot: Snapshot, with_images: bool) -> str:
    held = "with image bytes" if with_images else "without image bytes"
    return (
        f"{snapshot.pairs} radiology image-caption pairs, {held}: version {snapshot.version.name} "
        f"(manifest sha256 {snapshot.version.manifest_sha256}). Licence and credit are given for each pair."
    )


def _number(version: VersionRow) -> str:
    """MAJOR.MINOR.PATCH, which Croissant asks for: the version's tag, else 0.0.0 with the manifest's first digits."""
    return min(version.tags, default=f"0.0.0+{version.manifest_sha256[:16]}")


def _sources(snapshot: Snapshot) -> list[dict[str, Any]]:
    source, rows = table("source"), table("version_pair")
    held = select(rows.c.source).where(rows.c.version_id == snapshot.version.id)
    with snapshot.engine.connect() as connection:
        found = connection.execute(select(source).where(source.c.name.in_(held)).order_by(source.c.name))
        return [dict(row) for row in found.mappings()]


def _organization(source: dict[str, Any]) -> dict[str, str]:
    site = {"url": source["site"]} if (source["site"] or "").startswith("https://") else {}
    return {"@type": "sc:Organization", "name": source["name"], **site}


def _file(file: File) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": file.path,
        "name": file.path,
        "contentUrl": file.path,
        "contentSize": f"{file.bytes} B",
        "encodingFormat": "application/x-parquet",
        "sha256": file.sha256,
    }


def _records(file: File, with_images: bool) -> dict[str, Any]:
    """The record set of one split: a set a file, so that a reader loads and hashes no more than it asked for."""
    split = PurePosixPath(file.path).stem
    fields = [_field(file, split, name, "sc:Text") for name in COLUMNS]
    if with_images:
        image = _field(file, split, "image", "sc:ImageObject")
        image["source"]["transform"] = {"jsonPath": "bytes"}
        fields.append(image)
    key = {"@id": f"{split}/pair_id"}
    return {"@type": "cr:RecordSet", "@id": split, "name": split, "key": key, "field": fields}


def _field(file: File, split: str, name: str, data_type: str) -> dict[str, Any]:
    source = {"fileObject": {"@id": file.path}, "extract": {"column": name}}
    says = {"description": _SAYS[name]} if name in _SAYS else {}
    return {
        "@type": "cr:Field",
        "@id": f"{split}/{name}",
        "name": name,
        **says,
        "dataType": data_type,
        "source": source,
    }
