"""Makes the test vectors: keys, good packets, the conformance set of bad ones, and their index.

    .venv/bin/python -m tests.vectors.make_vectors            writes tests/vectors/{keys,good,bad}, cases.json
    .venv/bin/python -m tests.vectors.make_vectors --again    all packets anew

Everything but HPKE is deterministic: the same run gives the same certificates, signatures and packages, in other encapsulations. So a packet
that is there stays while its entry in the index and its length are the same; after a change of the form itself make all anew. With
PASSBOOTH_HPKE_NODE_MODULES set (make_second_hpke.mjs says how), packets sealed by the second implementation are written as well.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization

from tests.vectors import parties
from tests.vectors.bad_packages import bad_manifests, bad_zips
from tests.vectors.bad_seals import bad_bindings, bad_bodies, bad_headers, both, genuine
from tests.vectors.bad_signatures import bad_certificates, bad_signatures
from tests.vectors.case import STAGES, Case
from tests.vectors.forged_cms import signed_data
from tests.vectors.forged_package import PACKET_ID, package
from tests.vectors.forged_seal import shared, single
from tests.vectors.parties import BOOTH, BOOTH_1, BOOTH_BELOW, DESK, MADE_AT, RECIPIENTS, REPLACED_LATER, SECOND, THIRD

FOLDER = Path(__file__).resolve().parent
INDEX = FOLDER / "cases.json"
SECOND_VECTORS = FOLDER / "hpke_xwing_second.json"
SECOND_PROGRAM = FOLDER / "make_second_hpke.mjs"
NODE_MODULES = "PASSBOOTH_HPKE_NODE_MODULES"
HEADER_FIELDS = {"booth": BOOTH, "created_at": "2026-11-22T12:00:00Z", "packet_id": PACKET_ID}


def good_packets() -> list[Case]:
    """What every reader with the key accepts."""
    eight = (DESK, SECOND, THIRD, *(parties.recipient_key(f"desk {n}") for n in range(5)))
    names = {f"part-{n:02}/{'n' * 90}": b"" for n in range(3)} | {f"part-{n:02}": bytes([n]) for n in range(3, 64)}
    shared_cms = genuine(recipients=both())
    later = signed_data(package(), BOOTH_1, at=MADE_AT + timedelta(minutes=5))
    found = [
        ("one-recipient", single(genuine()), "one recipient, two parts", "desk"),
        ("two-recipients", shared(shared_cms), "two recipients, opened by the first", "desk"),
        ("two-recipients-second", shared(shared_cms), "two recipients, opened by the second", "second"),
        ("eight-recipients", shared(genuine(recipients=both(*eight)), eight), "the largest number of recipients", "third"),
        ("minimum", single(signed_data(package({"0": b""}), BOOTH_1)), "one part with a name of one byte and no content", "desk"),
        ("many-parts", single(signed_data(package(names), BOOTH_1)), "64 parts, folders, long names", "desk"),
        ("intermediate-authority", single(signed_data(package(), BOOTH_BELOW)), "an authority between booth and root", "desk"),
        ("revoked-later", single(signed_data(package(), REPLACED_LATER)), "the booth's certificate was superseded the day after", "desk"),
        ("signed-five-minutes-later", single(later), "the longest time between making and signing", "desk"),
    ]  # fmt: skip
    return [Case(name, packet, reason, "The packet", key=key) for name, packet, reason, key in found]


def all_cases() -> list[Case]:
    """Good packets, then the bad ones in the order of the stages that refuse them."""
    bad = [
        *(bad_headers() + bad_bodies() + bad_signatures() + bad_certificates()),
        *(bad_zips() + bad_manifests() + bad_bindings()),
    ]
    cases = [*good_packets(), *bad]
    assert len({one.id for one in cases}) == len(cases)
    assert {one.stage for one in bad} == set(STAGES)
    return cases


def key_files() -> dict[str, bytes]:
    """What a reader needs: the root, its revocation list, recipients' seeds; and the booth's key, to make more packets."""
    private = BOOTH_1.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    seeds = {name: {"key_id": key.key_id, "seed": key.seed.hex()} for name, key in RECIPIENTS.items()}
    return {
        "ca.pem": parties.ROOT.pem,
        "ca.crl": parties.ROOT_LIST,
        "booth.pem": BOOTH_1.pem,
        "booth.key": private,
        "recipients.json": json.dumps(seeds, indent=1).encode() + b"\n",
    }


def ask_second(modules: str, **request: Any) -> dict[str, Any]:
    """One answer of the second implementation of HPKE."""
    node = shutil.which("node")
    assert node, "Node 20 is needed: https://nodejs.org"
    run = subprocess.run(
        [node, str(SECOND_PROGRAM)],
        input=json.dumps(request),
        env={"PATH": os.environ["PATH"], NODE_MODULES: modules},
        capture_output=True,
        text=True,
        check=True,
    )
    answer: dict[str, Any] = json.loads(run.stdout)
    return answer


def second_vectors(modules: str) -> dict[str, Any]:
    """HPKE alone, and packets for one and for three, all encrypted by the second implementation."""
    info, plain = b"info of this vector", b"Sealed by another implementation."
    publics = [key.public.raw.hex() for key in RECIPIENTS.values()]
    sealed = ask_second(modules, do="seal", public=publics[0], info=info.hex(), plain=plain.hex())["sealed"]
    packets = {}
    for name, chosen in (("one", publics[:1]), ("three", publics)):
        cms = genuine(recipients=both(*list(RECIPIENTS.values())[: len(chosen)]))
        asked = {"do": "seal_packet", "publics": chosen, "fields": HEADER_FIELDS, "plain": cms.hex()}
        packets[name] = ask_second(modules, **asked)["packet"]
    hpke = {"recipient": "desk", "info": info.hex(), "plain": plain.hex(), "sealed": sealed}
    return {"by": "@hpke/core 1.9.0, @hpke/hybridkem-x-wing 0.7.0, Node 20", "hpke": hpke, "packets": packets}


def main() -> None:
    """Writes all files."""
    again = "--again" in sys.argv[1:]
    before = [] if again or not INDEX.exists() else json.loads(INDEX.read_text(encoding="utf-8"))
    cases = all_cases()
    index = [one.to_json() for one in cases]
    for name in ("good", "bad", "keys"):
        (FOLDER / name).mkdir(exist_ok=True)
    for name, data in key_files().items():
        (FOLDER / "keys" / name).write_bytes(data)
    files = {entry["file"] for entry in index}
    for path in [*(FOLDER / "good").iterdir(), *(FOLDER / "bad").iterdir()]:
        if path.relative_to(FOLDER).as_posix() not in files:
            path.unlink()
    for one, entry in zip(cases, index, strict=True):
        path = FOLDER / entry["file"]
        if entry not in before or not path.exists() or path.stat().st_size != len(one.packet):
            path.write_bytes(one.packet)
    lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in index)
    INDEX.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    modules = os.environ.get(NODE_MODULES)
    if modules:
        SECOND_VECTORS.write_text(json.dumps(second_vectors(modules), indent=1) + "\n", encoding="utf-8")
    bad = sum(one.stage is not None for one in cases)
    print(f"{len(cases) - bad} good packets, {bad} bad ones; {sum(len(one.packet) for one in cases)} bytes")


if __name__ == "__main__":
    main()
