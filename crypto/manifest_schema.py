r"""The JSON Schema of the manifest, as published in docs/manifest.schema.json: the model, and what the model cannot say. PURE.

Patterns of our models end in `\z`, which ECMA 262 does not know; there `$` means the same, for it has no flag here. What no schema can
say stands in `$comment` and in docs/packet.md; the reader checks it all.
"""

from __future__ import annotations

from typing import Any

from crypto.package import (
    MANIFEST,
    MAX_MANIFEST_BYTES,
    MAX_NAME_BYTES,
    MAX_PACKAGE_BYTES,
    MAX_PAD_BYTES,
    MAX_PARTS,
    PAD_FOLDER,
    PART_NAME,
    Manifest,
)

SCHEMA_ID = "urn:uuid:c81f8360-e875-497d-8714-eaa7ff1ff653"
_DESCRIPTIONS = {
    "packet_id": "UUID version 4 of the packet: 32 hex digits.",
    "booth": "Which booth made the package: the common name of the certificate that signs it.",
    "centre": "The service centre where the booth stands.",
    "recipients": "Key ids of whom the packet is sealed for: sorted, each once.",
    "created_at": "When the package was made, UTC, to the second.",
    "schema_version": "This schema.",
    "parts": "Every other entry of the package by its name.",
}


def manifest_schema() -> dict[str, Any]:
    """JSON Schema 2020-12."""
    schema = _plain(Manifest.model_json_schema())
    properties, facts = schema["properties"], schema["$defs"]["PartFacts"]
    properties["created_at"] = {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"}
    properties["recipients"]["uniqueItems"] = True
    properties["schema_version"].pop("default")
    properties["parts"] |= {
        "minProperties": 1,
        "maxProperties": MAX_PARTS,
        "propertyNames": {
            "pattern": f"^{PART_NAME.pattern}$",
            "maxLength": MAX_NAME_BYTES,
            "not": {"const": MANIFEST},
        },
    }
    for name, text in _DESCRIPTIONS.items():
        properties[name]["description"] = text
    facts["description"] = "One part: its length in bytes and the SHA-256 of its bytes."
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "$comment": (
            f"Not said here: the file is canonical JSON of at most {MAX_MANIFEST_BYTES} bytes; recipients are sorted; created_at is a "
            f"real time; no part's name is the folder of another; parts in {PAD_FOLDER} have at most {MAX_PAD_BYTES} bytes together, the whole "
            f"package at most {MAX_PACKAGE_BYTES}."
        ),
        **schema,
        "description": "manifest.json of a Passbooth package; docs/packet.md says the rest.",
        "required": sorted(properties),
    }


def _plain(value: Any) -> Any:
    """Without the titles that say again what a key is called, and with patterns that ECMA 262 reads."""
    if isinstance(value, dict):
        plain = {key: _plain(inner) for key, inner in value.items() if not (key == "title" and isinstance(inner, str))}
        if isinstance(pattern := plain.get("pattern"), str):
            plain["pattern"] = pattern.removesuffix(r"\z") + ("$" if pattern.endswith(r"\z") else "")
        return plain
    return [_plain(one) for one in value] if isinstance(value, list) else value
