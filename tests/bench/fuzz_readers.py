"""The strict readers of the project for fuzzing: what each is given, what it may raise, and what must hold of what it accepts.

Most inputs of the inner readers are mended after they were changed: encrypted again, signed again by the right key, so that the change is
met by the reader that it is for and not by the signature around it. All keys are those of the test vectors.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from asn1crypto import crl as asn1_crl
from asn1crypto import csr as asn1_csr
from asn1crypto import x509 as asn1
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from crypto import errors
from crypto.canonical import canonical_json, read_canonical_json
from crypto.certificate import read_certificate
from crypto.der import element
from crypto.dg2 import explain_dg2
from crypto.enrolment import read_chain
from crypto.face_record_2005 import explain_face_record_2005
from crypto.face_record_der import explain_face_record
from crypto.http_signature import sign_request, verify_request_head
from crypto.issuance import read_csr
from crypto.keys import FileSigner
from crypto.merkle import Frontier, consistency_proof, inclusion_proof, leaf_hash, verify_consistency, verify_inclusion
from crypto.package import read_manifest, read_package
from crypto.receipt import verify_receipt
from crypto.revocation import read_revocation_list
from crypto.seal import open_packet, read_header, verify
from crypto.tree_head import verify_tree_head
from crypto.trust import CONTENT_TREE_HEAD, Purpose, TrustStore, read_lists
from tests.bench import mutations
from tests.bench.mutations import Chance
from tests.receipts import ReceiptPad
from tests.records import samples
from tests.vectors import parties
from tests.vectors.bad_seals import both, genuine
from tests.vectors.forged_cms import signed_data
from tests.vectors.forged_package import Entry, canonical, entries_of, manifest_value, package, zip_of
from tests.vectors.forged_seal import body_of, content_key, framed, header_value, shared, shared_value, single, wraps_of
from tests.vectors.parties import BOOTH_1, BOOTH_BELOW, DESK, INTAKE, MADE_AT, ROOT, SECOND, Party

Input = Any
DER = serialization.Encoding.DER
URL = "https://intake.example.org/v1/packets/0"


@dataclass(frozen=True)
class Reader:
    """One reader: inputs from a seeded generator, the reading, its own errors, and what holds of an accepted input."""

    name: str
    make: Callable[[Chance], Input]
    read: Callable[[Input], Any]
    errors: tuple[type[errors.CryptoError], ...]
    hold: Callable[[Input, Any], bool] = lambda data, value: True
    refused: Callable[[errors.CryptoError], bool] = lambda err: True


def signer_of(party: Party) -> FileSigner:
    return FileSigner(party.certificate, party.chain, party.key)


class Material:
    """Good samples of everything, made once."""

    def __init__(self) -> None:
        lists = read_revocation_list(parties.ROOT_LIST, [ROOT.certificate])
        self.trust = TrustStore((ROOT.certificate,)).with_lists([lists])
        self.package, self.cms = package(), genuine()
        self.below = signed_data(self.package, BOOTH_BELOW)
        self.shared_cms = genuine(recipients=both())
        self.packets = [single(self.cms), shared(self.shared_cms)]
        self.certificates = [BOOTH_1, parties.ISSUING, BOOTH_BELOW]
        self.request = self._request()
        structures = {one: asn1.Certificate.load(one.der) for one in self.certificates}
        self.bodies = {one: found["tbs_certificate"].dump() for one, found in structures.items()}
        self.algorithm: bytes = structures[BOOTH_1]["signature_algorithm"].dump()
        self.list_body: bytes = asn1_crl.CertificateList.load(parties.ROOT_LIST)["tbs_cert_list"].dump()
        self.request_body: bytes = asn1_csr.CertificationRequest.load(self.request)["certification_request_info"].dump()
        self.signed_headers = {method: self._headers(method) for method in ("PUT", "GET")}
        pad = ReceiptPad(signer_of(INTAKE), "0" * 32)
        pad.give(*("1" * 64, "2" * 64, "3" * 64), at=MADE_AT, packet_id="0" * 12 + "4" + "0" * 3 + "8" + "0" * 15)
        self.receipt = pad.give("4" * 64, "5" * 64, at=MADE_AT, packet_id="0" * 12 + "4" + "0" * 3 + "8" + "0" * 15)
        self.head = base64.b64decode(json.loads(self.receipt)["tree_head"])
        self.head_value = json.loads(self.receipt)["entry"], self._head_content()
        self.records = samples()
        self.leaves = [leaf_hash(bytes([n])) for n in range(37)]
        self.nodes: dict[tuple[int, int], bytes] = {}
        self.roots = [Frontier().root()]
        tree = Frontier()
        for leaf in self.leaves:
            self.nodes |= {(level, index): node for level, index, node in tree.append(leaf)}
            self.roots.append(tree.root())

    def _head_content(self) -> dict[str, Any]:
        verified = verify_tree_head(self.head, self.trust)
        value: dict[str, Any] = json.loads(verified.to_bytes())
        return value

    def _request(self) -> bytes:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "booth-0001")])
        request = x509.CertificateSigningRequestBuilder().subject_name(name)
        return request.sign(BOOTH_1.key, hashes.SHA384(), ecdsa_deterministic=True).public_bytes(DER)

    def _headers(self, method: str) -> dict[str, str]:
        body = b"body" if method == "PUT" else b""
        return dict(sign_request(method, URL, {}, body, signer_of(BOOTH_1), created=MADE_AT, nonce="n" * 22))

    def signed_again(self, body: bytes, by: Party) -> bytes:
        """A certificate, list or request whose body was changed, with a right signature."""
        return element(0x30, body, self.algorithm, element(0x03, b"\x00" + by.key.sign(body, parties.ECDSA)))

    # --- inputs

    def header(self, chance: Chance) -> bytes:
        if chance.random() < 0.2:
            return mutations.octets(chance.choice(self.packets)[: chance.choice((700, 5_000))], chance, self.packets)
        value = header_value() if chance.random() < 0.5 else self._shared_header()
        length = chance.choice((None,) * 9 + (0, 1, 2**32 - 1, 16_384, 16_385, 100))
        return framed(mutations.document(canonical(value), chance), length) + b"body"

    def _shared_header(self) -> dict[str, Any]:
        header: dict[str, Any] = json.loads(self.packets[1][15 : 15 + int.from_bytes(self.packets[1][11:15], "big")])
        return header

    def packet(self, chance: Chance) -> bytes:
        match chance.randrange(8):
            case 0 | 1 | 2:
                return mutations.octets(chance.choice(self.packets), chance, self.packets)
            case 3 | 4:
                return single(mutations.der(self.cms, chance, [self.below]))
            case 5:
                before = framed(mutations.document(canonical(header_value()), chance))
                return single(self.cms, before=before)
            case 6:
                key = content_key()
                value = mutations.value(shared_value(key), chance)
                if not isinstance(value, dict):
                    return framed(mutations.canonical(value))
                people = sorted((DESK, SECOND), key=lambda one: one.key_id)
                before = framed(mutations.canonical(value | {"recipients": wraps_of(value, people, [key, key])}))
                return before + body_of(self.shared_cms, key, before)
            case _:
                return single(signed_data(self.zip(chance), BOOTH_1))

    def manifest(self, chance: Chance) -> bytes:
        return mutations.document(canonical(manifest_value()), chance)

    def zip(self, chance: Chance) -> bytes:
        match chance.randrange(4):
            case 0:
                return mutations.octets(self.package, chance, [self.package])
            case 1:
                return zip_of(entries_of(manifest=self.manifest(chance)))
            case _:
                return zip_of(self._entries(chance), **self._around(chance))

    def _entries(self, chance: Chance) -> list[Entry]:
        entries = entries_of(
            {f"p-{n}": chance.randbytes(chance.choice((0, 1, 30))) for n in range(chance.choice((1, 2, 5)))}
        )
        at = chance.randrange(len(entries))
        number = chance.choice((0, 1, 8, 20, 45, 0x0800, 0xFFFF))
        changes: dict[str, Any] = {
            "name": chance.choice((b"", b"../x", b"/x", b"a/b", b"p-0", b"\xff", b"a" * 101, b"manifest.json")),
            **dict.fromkeys(("version", "flags", "method", "time", "date", "crc"), number),
            "size": chance.choice((0, 1, 0xFFFFFFFF)),
            "extra": chance.randbytes(4),
            "central_name": b"other",
            "central_extra": b"xxxx",
            "comment": b"c",
            "attributes": 0,
            "descriptor": chance.randbytes(16),
            "before": b"gap",
            "stored": chance.randbytes(9),
        }
        name = chance.choice(list(changes))
        kept = {field: getattr(entries[at], field) for field in Entry.__dataclass_fields__}
        entries[at] = Entry(**(kept | {name: changes[name]}))
        if chance.random() < 0.2:
            entries.insert(chance.randrange(len(entries) + 1), Entry(**{**kept, "data": b"again"}))
        if chance.random() < 0.1:
            chance.shuffle(entries)
        return entries

    def _around(self, chance: Chance) -> dict[str, Any]:
        found = {"prefix": b"#!", "gap": b"xx", "comment": b"c", "after": b"\x00", "zip64": True}
        name = chance.choice(list(found))
        return {name: found[name]} if chance.random() < 0.2 else {}

    def signed(self, chance: Chance) -> bytes:
        if chance.random() < 0.85:
            return mutations.der(chance.choice((self.cms, self.below)), chance, [self.below, parties.ROOT_LIST])
        edit = lambda all_: [mutations.der(one, chance, all_) if chance.random() < 0.4 else one for one in all_]  # noqa: E731 - one expression
        return signed_data(self.package, BOOTH_1, edit=edit)

    def certificates_(self, chance: Chance) -> tuple[bytes, ...]:
        """A leaf and its authorities, one of them changed."""
        if chance.random() < 0.6:
            return mutations.der(chance.choice(self.certificates).der, chance, [ROOT.der]), *self._authorities(chance)
        party = chance.choice(self.certificates)
        by = ROOT if party is not BOOTH_BELOW else parties.ISSUING
        made = self.signed_again(mutations.der(self.bodies[party], chance, [ROOT.der]), by)
        return (BOOTH_BELOW.der, made) if party is parties.ISSUING else (made, *self._authorities(chance))

    def _authorities(self, chance: Chance) -> tuple[bytes, ...]:
        return chance.choice(((), (parties.ISSUING.der,), (parties.ISSUING.der, ROOT.der)))

    def revocation_list(self, chance: Chance) -> bytes:
        if chance.random() < 0.6:
            return mutations.der(parties.ROOT_LIST, chance, [ROOT.der])
        return self.signed_again(mutations.der(self.list_body, chance, [ROOT.der]), ROOT)

    def request_pem(self, chance: Chance) -> bytes:
        changed = mutations.der(self.request, chance, [ROOT.der])
        if chance.random() < 0.4:
            changed = self.signed_again(mutations.der(self.request_body, chance, [ROOT.der]), BOOTH_1)
        return self._pem(changed, "CERTIFICATE REQUEST", chance)

    def chain(self, chance: Chance) -> bytes:
        pieces = [
            mutations.der(one.der, chance, [ROOT.der]) if chance.random() < 0.4 else one.der
            for one in self.certificates
        ]
        return b"".join(self._pem(one, "CERTIFICATE", chance) for one in pieces[: chance.randrange(1, 4)])

    def lists_pem(self, chance: Chance) -> bytes:
        return self._pem(self.revocation_list(chance), "X509 CRL", chance) + self.chain(chance)

    def _pem(self, der: bytes, label: str, chance: Chance) -> bytes:
        text = base64.encodebytes(der)
        pem = f"-----BEGIN {label}-----\n".encode() + text + f"-----END {label}-----\n".encode()
        return mutations.octets(pem, chance, [pem]) if chance.random() < 0.15 else pem

    def receipt_(self, chance: Chance) -> bytes:
        if chance.random() < 0.8:
            return mutations.document(self.receipt, chance)
        value = json.loads(self.receipt)
        return canonical(value | {"tree_head": base64.b64encode(self.tree_head(chance)).decode()})

    def tree_head(self, chance: Chance) -> bytes:
        if chance.random() < 0.6:
            return mutations.der(self.head, chance, [self.cms])
        content = mutations.document(canonical(self.head_value[1]), chance)
        return signed_data(content, INTAKE, at=MADE_AT, kind=CONTENT_TREE_HEAD)

    def proof(self, chance: Chance) -> tuple[str, list[Any]]:
        node = lambda level, index: self.nodes[level, index]  # noqa: E731 - one expression
        second = chance.randrange(1, len(self.leaves) + 1)
        first = chance.randrange(1, second + 1)
        if chance.random() < 0.5:
            kind, proof = "inclusion", inclusion_proof(first - 1, second, node)
            values: list[Any] = [self.leaves[first - 1], first - 1, second, proof, self.roots[second]]
        else:
            kind, proof = "consistency", consistency_proof(first, second, node)
            values = [first, second, self.roots[first], self.roots[second], proof]
        for _ in range(chance.choice((0, 1, 1, 2))):
            at = chance.randrange(len(values))
            if isinstance(values[at], int):
                values[at] = chance.choice((-1, 0, 1, values[at] + 1, values[at] - 1, 2**53 - 1, 2**64, -(2**64)))
            elif isinstance(values[at], bytes):
                values[at] = mutations.octets(values[at], chance, self.leaves)
            else:
                values[at] = [mutations.octets(one, chance) if chance.random() < 0.3 else one for one in values[at]]
                if chance.random() < 0.5:
                    values[at] = (
                        values[at][1:]
                        if chance.random() < 0.5
                        else values[at] + self.leaves[:1] * chance.choice((1, 70))
                    )
        return kind, values

    def headers(self, chance: Chance) -> tuple[str, str, dict[str, str]]:
        method = chance.choice(("PUT", "GET"))
        headers = dict(self.signed_headers[method])
        for name in chance.sample(list(headers), chance.choice((0, 1, 1, 2))):
            match chance.randrange(5):
                case 0:
                    del headers[name]
                case 1:
                    headers[name.swapcase()] = headers[name]
                case _:
                    headers[name] = mutations.octets(
                        headers[name].encode("latin-1"), chance, [b'=;,:()"?0;a=1']
                    ).decode("latin-1")
        return chance.choice((method, method, method, "POST")), URL, headers

    def record(self, *kinds: str) -> Callable[[Chance], bytes]:
        chosen = [data for name, data in self.records.items() if name.startswith(kinds)]

        def make(chance: Chance) -> bytes:
            change = mutations.der if chance.random() < 0.7 and not chosen[0].startswith(b"FAC") else mutations.octets
            return change(chance.choice(chosen), chance, chosen)

        return make

    # --- readings

    def path(self, ders: tuple[bytes, ...]) -> Any:
        leaf, *others = [read_certificate(der) for der in ders]
        return self.trust.path(leaf, others, Purpose.BOOTH, MADE_AT + timedelta(seconds=2))

    @staticmethod
    def proved(proof: tuple[str, list[Any]]) -> Any:
        kind, values = proof
        return (verify_inclusion if kind == "inclusion" else verify_consistency)(*values)

    def readers(self) -> Mapping[str, Reader]:
        """All readers by name."""
        found = [
            Reader("json", lambda c: mutations.document(canonical(manifest_value()), c), lambda d: read_canonical_json(d, 65_536, "document"), (errors.CanonicalJsonError,), lambda d, v: canonical_json(v) == d),
            Reader("header", self.header, read_header, (errors.PacketFormatError,), lambda d, v: d.startswith(framed(v.to_bytes()))),
            Reader("packet", self.packet, lambda d: open_packet(d, [DESK], self.trust), (errors.PacketRefusedError,), lambda d, v: v.header.booth == v.manifest.booth, lambda e: str(e) == errors.OPAQUE_REASON and isinstance(e.__cause__, errors.CryptoError)),
            Reader("manifest", self.manifest, read_manifest, (errors.PackageError,), lambda d, v: v.to_bytes() == d),
            Reader("zip", self.zip, read_package, (errors.PackageError,), lambda d, v: v.data == d),
            Reader("cms", self.signed, lambda d: verify(d, self.trust), (errors.SignatureRefusedError, errors.CertificateRefusedError), lambda d, v: v.content == self.package),
            Reader("certificate", self.certificates_, self.path, (errors.CertificateRefusedError,), lambda d, v: v[-1] == ROOT.certificate),
            Reader("list", self.revocation_list, lambda d: read_revocation_list(d, [ROOT.certificate]), (errors.RevocationListError,), lambda d, v: v.der == d),
            Reader("lists", self.lists_pem, lambda d: read_lists(d, self.trust), (errors.RevocationListError,)),
            Reader("request", self.request_pem, read_csr, (errors.EnrolmentError,)),
            Reader("chain", self.chain, read_chain, (errors.EnrolmentError,)),
            Reader("receipt", self.receipt_, lambda d: verify_receipt(d, self.trust, "5" * 64), (errors.ReceiptError,), lambda d, v: v.packet_sha256 == "5" * 64),
            Reader("tree head", self.tree_head, lambda d: verify_tree_head(d, self.trust), (errors.ReceiptError,), lambda d, v: v.to_bytes() in d),
            Reader("log proof", self.proof, self.proved, (errors.LogProofError,)),
            Reader("http signature", self.headers, lambda d: verify_request_head(*d, self.trust, MADE_AT), (errors.RequestSignatureError, errors.RequestClockError)),
            Reader("face 39794-5", self.record("39794-5"), explain_face_record, (errors.FaceRecordError,)),
            Reader("face 19794-5", self.record("19794-5"), explain_face_record_2005, (errors.FaceRecordError,), lambda d, v: v[0].to_bytes() == d),
            Reader("dg2", self.record("DG2"), explain_dg2, (errors.FaceRecordError,), lambda d, v: v[0].to_bytes() == d),
        ]  # fmt: skip
        return {one.name: one for one in found}
