"""A development PKI: one authority, one booth, one centre, one intake, one desk, one producer, made where the demo first starts. Never for production.

The authority's key lies beside the others, so whoever has the folder can make any certificate; real booths are enrolled. The folder
is an authority's folder too (server/authority.py): `intake ca` and an intake that enrols booths work with it.

Rules: those of crypto/key_folder.py; a key is written before its certificate, so a pair without a certificate is made again. What
exists is kept: a second start changes nothing. A certificate in its last month is issued again for a new key; what was
signed before stays valid, because packets are judged at their signing time. The revocation list is written anew, with what it named, when
half of its life is over. The authority is never replaced.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from crypto.desk_secret import generate_desk_secret
from crypto.errors import KeyUnavailableError
from crypto.issuance import Issuer, Profile, Revoked, issue, make_crl, make_root
from crypto.key_folder import PRIVATE, PUBLIC, make_key_folder, only_writer, write_whole
from crypto.private_key import private_pem
from crypto.recipient import generate_recipient_key, load_recipient_key
from crypto.trust import common_name, load_certificates, load_trust

AUTHORITY_NAME = "Passbooth development authority, not for production"
PRODUCER_NAME = "producer-development"
AUTHORITY_DAYS = 3_650
RENEW_DAYS = 30
LIST_DAYS = 30
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
# File name, common name (none: the booth's), what for.
_LEAVES = (
    ("booth", None, Profile.BOOTH),
    ("intake", "intake-development", Profile.INTAKE),
    ("intake-tls", "intake-on-loopback", Profile.TLS),
    ("desk-tls", "desk-on-loopback", Profile.TLS),
    ("centre", "centre-development", Profile.CENTRE),
    ("staff", "staff-development", Profile.STAFF),
    ("desk", "desk-development", Profile.DESK),
    ("producer", PRODUCER_NAME, Profile.PRODUCER),
)


def make_development_pki(folder: Path, booth: str = "booth-0001", *, at: datetime | None = None) -> Path:
    """Fills `folder` with what is missing and returns it; safe when two processes start at once.

    Files: ca.pem ca.key ca.crl booth.pem booth.key intake.pem intake.key intake-tls.pem intake-tls.key desk-tls.pem desk-tls.key
    centre.pem centre.key centres.pem (what the intake tells of centres) staff.pem staff.key (signs the list of staff codes) desk.pem desk.key (signs decisions) desk.hpke (private) desk.hpke.pub desk.secret
    producer.pem producer.key (signs requests and answers) producer.hpke (private), and what intake and desk know of that producer:
    producers/producer-development/ca.pem producers/producer-development/producer.hpke.pub.
    """
    now = (at or datetime.now(UTC)).replace(microsecond=0)
    try:
        make_key_folder(folder)
        with only_writer(folder):
            _fill(folder, booth, now)
    except OSError as err:
        raise KeyUnavailableError(f"The development keys in {folder} cannot be made: {err.strerror}.") from err
    return folder


def _fill(folder: Path, booth: str, now: datetime) -> None:
    if not (folder / "ca.pem").exists():
        if any((folder / f"{name}.pem").exists() for name, _, _ in _LEAVES):
            raise KeyUnavailableError(f"{folder} holds certificates but not their authority: use another folder.")
        root = make_root(AUTHORITY_NAME, "Passbooth", now, AUTHORITY_DAYS)
        write_whole(folder / "ca.key", private_pem(root.key), PRIVATE)
        write_whole(folder / "ca.pem", root.certificate.public_bytes(serialization.Encoding.PEM), PUBLIC)
    for name, identity, profile in _LEAVES:
        path = folder / f"{name}.pem"
        if path.exists() and (folder / f"{name}.key").exists():
            current = load_certificates(path)[0]
            if identity is None and common_name(current) != booth:
                raise KeyUnavailableError(f"{folder} belongs to {common_name(current)}, not to {booth}.")
            if current.not_valid_after_utc - now > timedelta(days=RENEW_DAYS):
                continue
        path.unlink(missing_ok=True)  # first, so that a new key never stands beside an old certificate
        key = ec.generate_private_key(profile.curve())
        names = _LOOPBACK if profile is Profile.TLS else ()
        leaf = issue(_issuer(folder), key.public_key(), identity or booth, profile, now, names=names)
        write_whole(folder / f"{name}.key", private_pem(key), PRIVATE)
        write_whole(path, leaf.public_bytes(serialization.Encoding.PEM), PUBLIC)
        if profile is Profile.CENTRE:
            (folder / "centres.pem").unlink(missing_ok=True)
    if not (folder / "centres.pem").exists():
        write_whole(folder / "centres.pem", (folder / "centre.pem").read_bytes(), PUBLIC)
    _refresh_list(folder, now)
    _fill_recipient(folder / "desk.hpke", folder / "desk.hpke.pub")
    if not (folder / "desk.secret").exists():
        write_whole(folder / "desk.secret", generate_desk_secret().to_pem(), PRIVATE)
    known = folder / "producers" / PRODUCER_NAME
    for one in (known.parent, known):
        make_key_folder(one)
    _fill_recipient(folder / "producer.hpke", known / "producer.hpke.pub")
    if not (known / "ca.pem").exists():
        write_whole(known / "ca.pem", (folder / "ca.pem").read_bytes(), PUBLIC)


def _fill_recipient(private: Path, public: Path) -> None:
    if not private.exists():
        public.unlink(missing_ok=True)
        write_whole(private, generate_recipient_key().to_pem(), PRIVATE)
    if not public.exists():
        write_whole(public, load_recipient_key(private).public.to_pem(), PUBLIC)


def _refresh_list(folder: Path, now: datetime) -> None:
    path, number, revoked = folder / "ca.crl", 1, list[Revoked]()
    if path.exists():
        (current,) = load_trust(folder / "ca.pem", path).crls
        if current.next_update_at - now > timedelta(days=LIST_DAYS / 2):
            return
        number = current.number + 1
        revoked = [Revoked(serial, one.since, one.reason) for serial, one in current.entries.items()]
    write_whole(path, make_crl(_issuer(folder), number, revoked, now, now + timedelta(days=LIST_DAYS)), PUBLIC)


def _issuer(folder: Path) -> Issuer:
    wrong = f"{folder / 'ca.key'} is not the key that was made here: use another folder."
    try:
        key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
    except (ValueError, TypeError) as err:  # TypeError: it is encrypted, so it is a real authority's
        raise KeyUnavailableError(wrong) from err
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise KeyUnavailableError(wrong)
    return Issuer(load_certificates(folder / "ca.pem")[0], key)
