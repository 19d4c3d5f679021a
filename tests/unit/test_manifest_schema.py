"""The published schema of the manifest: it is the model's, real manifests keep it, and what it refuses the reader refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from booth.packet import app
from crypto.canonical import canonical_json
from crypto.errors import PackageError
from crypto.manifest_schema import manifest_schema
from crypto.package import MAX_PARTS, build_package, read_manifest
from tests.packets import PARTS, fields_for

PUBLISHED = Path(__file__).resolve().parents[2] / "docs" / "manifest.schema.json"
IDS = tuple(f"{n:032x}" for n in range(9))


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def test_the_published_schema_is_the_one_of_the_code():
    assert json.loads(PUBLISHED.read_text(encoding="utf-8")) == manifest_schema(), (
        "booth packet schema > docs/manifest.schema.json"
    )
    printed = CliRunner().invoke(app, ["schema"])
    assert printed.exit_code == 0
    assert printed.output == PUBLISHED.read_text(encoding="utf-8")


@pytest.mark.parametrize("recipients", [IDS[:1], IDS[:2], IDS[:8]])
def test_real_manifests_keep_it(validator, recipients):
    parts = {**PARTS, **{f"pad/frame-{n}.bin": b"" for n in range(MAX_PARTS - len(PARTS))}}
    manifest = build_package(fields_for(*recipients), parts).manifest
    validator.validate(json.loads(manifest.to_bytes()))


def broken() -> dict[str, object]:
    """What the schema can say, broken once each: a value to put in, or None to leave the key out."""
    fact = {"size": 0, "sha256": "0" * 64}
    return {
        **{f"no {key}": {key: None} for key in json.loads(a_manifest())},
        "another key": {"surprise": 1},
        "another schema": {"schema_version": 2},
        "a recipient alone": {"recipients": IDS[0]},
        "no recipients": {"recipients": []},
        "nine recipients": {"recipients": list(IDS)},
        "a recipient twice": {"recipients": [IDS[0], IDS[0]]},
        "a recipient in capitals": {"recipients": ["A" * 32]},
        "a packet id of version 1": {"packet_id": "0" * 12 + "1" + "0" * 3 + "8" + "0" * 15},
        "a booth with a space": {"booth": "booth 1"},
        "a centre of 65": {"centre": "c" * 65},
        "a time with a zone": {"created_at": "2026-11-22T12:00:00+01:00"},
        "no parts": {"parts": {}},
        "too many parts": {"parts": {f"p{n}": fact for n in range(MAX_PARTS + 1)}},
        "a part named manifest.json": {"parts": {"manifest.json": fact}},
        "a part that climbs": {"parts": {"../a": fact}},
        "a part with a long name": {"parts": {"a" * 101: fact}},
        "a part in two folders": {"parts": {"a/b/c": fact}},
        "a part without a size": {"parts": {"a": {"sha256": "0" * 64}}},
        "a part with more to say": {"parts": {"a": fact | {"type": "image"}}},
        "a part below zero": {"parts": {"a": fact | {"size": -1}}},
        "a part above the limit": {"parts": {"a": fact | {"size": 20_000_001}}},
        "a size that is text": {"parts": {"a": fact | {"size": "1"}}},
        "a short digest": {"parts": {"a": fact | {"sha256": "0" * 63}}},
    }


def a_manifest() -> bytes:
    return build_package(fields_for(IDS[0]), {"a": b""}).manifest.to_bytes()


@pytest.mark.parametrize("fault", broken())
def test_what_it_refuses_the_reader_refuses_too(validator, fault):
    value = json.loads(a_manifest()) | broken()[fault]
    value = {key: one for key, one in value.items() if one is not None}
    assert not validator.is_valid(value)
    with pytest.raises(PackageError):
        read_manifest(canonical_json(value))


def test_it_is_measured_against_a_manifest_that_both_accept(validator):
    validator.validate(json.loads(a_manifest()))
    assert read_manifest(a_manifest())
