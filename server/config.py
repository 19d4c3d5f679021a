"""Settings of the intake and of the desk: command line over environment (`INTAKE_…`, `DESK_…`) over defaults; frozen once read.

Both processes share one data folder: the intake writes packets and rows, the desk reads them. The keys they hold differ: the intake has the
key that signs receipts and never one that opens a packet; the desk has the key that opens packets.
"""

from __future__ import annotations

import os
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from server.errors import SettingsError
from server.number_rules import read_rule
from server.retention import Policy
from server.software import read_range

MEBIBYTE = 1024 * 1024


class ListenSettings(BaseSettings):
    """Where a process listens and the certificate it shows."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65535, description="0 takes a free port and tells it in the ready line.")
    tls_certificate: Path
    tls_key: Path
    head_s: PositiveFloat = Field(
        default=10.0,
        description="A connection whose TLS handshake is not complete by then is closed; so is one without a whole request head by then.",
    )
    # A booth keeps one connection, a browser six (so do all of them); each costs about 100 kB of TLS and HTTP state.
    max_connections: PositiveInt = Field(
        default=512,
        description="Connections at once; more are closed. Never above half of the files the process may open.",
    )
    max_per_address: PositiveInt = Field(
        default=64, description="Connections at once from one IPv4 address or IPv6 /64; more are closed."
    )
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = Field(
        default=(),
        description="Networks of proxies in front: their X-Forwarded-For is believed, and they may hold any number of connections.",
    )
    stop_s: PositiveInt = Field(default=10, description="How long running requests may take to finish after SIGTERM.")
    drain_s: NonNegativeFloat = Field(
        default=0.0,
        description="How long after SIGTERM work is still taken while /v1/ready says 503: what a load balancer needs to notice.",
    )
    metrics_port: int | None = Field(
        default=None, ge=0, le=65535, description="Port on 127.0.0.1 that tells metrics; 0 takes a free one, None none."
    )


class StoreSettings(BaseSettings):
    """Where packets and rows are kept. By themselves they are those of the intake, as its commands need them."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix="INTAKE_")

    data_dir: Path
    database_url: str | None = Field(default=None, description="SQLAlchemy URL; None is SQLite inside the data folder.")
    objects_url: str | None = Field(
        default=None,
        description="Where sealed packets are kept: file:///folder, or s3://bucket/prefix; None is a folder inside the data folder.",
    )
    s3_endpoint: str | None = Field(default=None, description="https://host of the object store; None is Amazon's.")
    s3_region: str = "us-east-1"
    s3_access_key_id: str | None = Field(
        default=None, description="Name of the key for the object store; None takes the role that the machine has."
    )
    s3_secret_key_file: Path | None = Field(default=None, description="File with the secret of that key.")
    s3_secret_key: SecretStr | None = Field(default=None, description="The secret itself, instead of its file.")
    s3_root_certificate: Path | None = Field(
        default=None, description="Root certificate of the object store (PEM), beside those of the system."
    )
    # The largest packet, 20 MiB, over 10 Mbit/s takes 17 s.
    s3_timeout_s: PositiveFloat = Field(default=30.0, description="Longest time for one request to the object store.")

    @property
    def resolved_database_url(self) -> str:
        """The database in use."""
        return self.database_url or f"sqlite+aiosqlite:///{(self.data_dir / 'intake.sqlite3').resolve()}"


class IntakeSettings(ListenSettings, StoreSettings):
    """Everything the intake needs. It holds no key that opens a packet."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix="INTAKE_")

    trust: Path = Field(description="Root certificates that booths chain to (PEM).")
    crl: Path | None = Field(
        default=None, description="Revocation list of their authority (DER); read again when the file changes."
    )
    issuer_dir: Path | None = Field(
        default=None, description="Folder of the authority that enrols booths (`intake ca init`); None enrols nobody."
    )
    issuer_passphrase_file: Path | None = Field(default=None, description="File with the passphrase of its key.")
    centres: Path | None = Field(
        default=None, description="Certificates of the centres that sign slips (PEM); read again when the file changes."
    )
    receipt_signer: str = Field(
        description="URI of the key that signs receipts: file:/etc/passbooth/intake.key, or pkcs11:token=…;object=…?pin-source=…"
    )
    receipt_certificate: Path | None = Field(
        default=None, description="Its certificate (PEM); for a file, None is the .pem beside it."
    )
    staff_signer: str | None = Field(
        default=None, description="URI of the key that signs the list of staff codes; None names no staff."
    )
    staff_certificate: Path | None = Field(
        default=None, description="Its certificate (PEM); for a file, None is the .pem beside it."
    )
    producers: Path | None = Field(
        default=None,
        description="Folder of the producers that fetch orders here (server/producers.py); None is nobody.",
    )
    public_url: str | None = Field(
        default=None, description="The address that booths sign, when a proxy in front changes scheme or host."
    )
    # A packet of the demo profile has about 0.3 MB, one with a full-resolution portrait and PAD frames up to 6 MB (product.md).
    max_packet_bytes: PositiveInt = 20 * MEBIBYTE
    body_idle_s: PositiveFloat = Field(default=20.0, description="Longest silence inside a body.")
    body_total_s: PositiveFloat = Field(
        default=300.0, description="Longest time for a body: 20 MiB over a 0.6 Mbit/s line."
    )
    max_uploads: PositiveInt = Field(
        default=32, description="Uploads at once; more are told to come back (Retry-After)."
    )
    max_uploads_per_booth: PositiveInt = Field(
        default=4, description="Uploads of one booth at once; a booth sends one, and others may still be ending."
    )
    # Why these are far above a real booth's day: server/quotas.py.
    quota_packets_per_day: PositiveInt = Field(default=3000, description="New packets of one booth within a day (UTC).")
    quota_bytes_per_day: PositiveInt = Field(default=16 * 1024 * MEBIBYTE, description="Their bytes.")
    retry_after_s: PositiveInt = 5
    # Interrupted uploads (server/partials.py): a booth has one, and those of packets that it put off.
    partials_per_booth: PositiveInt = Field(default=8, description="Interrupted uploads kept of one booth.")
    partial_bytes_per_booth: PositiveInt = Field(default=64 * MEBIBYTE, description="Their bytes.")
    partial_bytes: PositiveInt = Field(default=4096 * MEBIBYTE, description="The bytes of all; looked at every minute.")
    partial_kept_s: PositiveFloat = Field(default=3 * 86_400.0, description="How long one is kept after its last byte.")
    # 1 GiB every ten minutes is 4.6 TB in thirty days: a country's packets once (docs/storage.md).
    scrub_bytes: PositiveInt = Field(
        default=1024 * MEBIBYTE, description="Bytes that are read and compared with their digest in ten minutes."
    )
    applications_kept_days: PositiveInt = Field(
        default=90, le=36_500, description="How long an application and its captures are kept after its last day."
    )
    backup_kept_days: PositiveInt = Field(
        default=30,
        le=3_650,
        description="How long a backup is kept: so long a deleted packet is still in one. Assumed.",
    )
    # How long packets are kept (server/retention.py, docs/retention.md); the numbers are assumed: the operator's law decides.
    retention_handed_over_days: PositiveInt = Field(
        default=30, le=36_500, description="Days that a packet is kept after its producer took it."
    )
    retention_undecided_days: PositiveInt = Field(
        default=180, le=36_500, description="Days that a packet is kept that nobody decided on."
    )
    retention_rejected_days: PositiveInt = Field(
        default=90, le=36_500, description="Days that a packet is kept after it was rejected."
    )
    retention_release_days: PositiveInt = Field(
        default=7, le=36_500, description="Days that a packet is kept at least after its hold was released."
    )
    retention_keeps_links: bool = Field(
        default=False, description="Keep the link from application and status page to a packet that is deleted."
    )
    retention_every_s: PositiveFloat = Field(default=3600.0, description="How often what is due is deleted.")
    retention_per_run: PositiveInt = Field(
        default=10_000, description="Packets deleted at most in one run: 240 000 a day are four times a country's."
    )
    heartbeat_s: int = Field(default=300, ge=10, le=86_400, description="How often booths tell their health.")
    fleet_days_kept: PositiveInt = Field(
        default=800,
        le=36_500,
        description="Days that the counts of a booth's days are kept: a year beside the one before.",
    )
    alerts_kept_days: int = Field(
        default=400, ge=400, le=36_500, description="Days that an alert is kept after it was over."
    )
    status_asks_per_minute: PositiveInt = Field(
        default=30,
        description="Questions of one address (IPv6 /64) on the status page; behind a proxy set trusted_proxies.",
    )
    blocked_software: dict[str, str] = Field(
        default={}, description='Booth software that is refused, and why: {"<0.1.5": "Update to 0.1.5."}.'
    )

    @field_validator("blocked_software")
    @classmethod
    def _has_ranges(cls, blocked: dict[str, str]) -> dict[str, str]:
        for text in blocked:
            read_range(text)
        return blocked

    @property
    def retention(self) -> Policy:
        """How long packets are kept."""
        return Policy(
            self.retention_handed_over_days,
            self.retention_undecided_days,
            self.retention_rejected_days,
            self.retention_release_days,
            self.backup_kept_days,
            keep_links=self.retention_keeps_links,
        )

    @property
    def resolved_crl(self) -> Path | None:
        """The revocation list in use: the one named, else that of the authority in `issuer_dir`."""
        return self.crl if self.crl is not None or self.issuer_dir is None else self.issuer_dir / "ca.crl"

    @property
    def resolved_centres(self) -> Path | None:
        """The centres' certificates in use: the file named, else that of the authority in `issuer_dir`."""
        in_folder = None if self.issuer_dir is None else self.issuer_dir / "centres.pem"
        return self.centres if self.centres is not None else in_folder

    @classmethod
    def from_pki(cls, pki: Path, data: Path, **more: object) -> Self:
        """Settings that use the development keys in `pki` (`intake pki init`). Raises `SettingsError` when a file is missing."""
        files = _present(pki, "ca.pem", "intake.key", "intake.pem", "intake-tls.pem", "intake-tls.key")
        return cls.model_validate(
            {
                "data_dir": data,
                "trust": files["ca.pem"],
                "crl": None if more.get("issuer_dir") else _list_in(pki),
                "centres": None if more.get("issuer_dir") else (pki / "centres.pem").resolve(),
                "receipt_signer": f"file:{files['intake.key']}",
                **_staff_key_in(pki),
                **_producers_in(pki, "INTAKE"),
                "tls_certificate": files["intake-tls.pem"],
                "tls_key": files["intake-tls.key"],
                **more,
            }
        )


class DeskSettings(ListenSettings, StoreSettings):
    """Everything the desk needs, among it the key that opens packets."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix="DESK_")

    trust: Path = Field(description="Root certificates that booths chain to (PEM).")
    crl: Path | None = Field(
        default=None, description="Revocation list of their authority (DER); read again when the file changes."
    )
    issuer_dir: Path | None = Field(
        default=None,
        description="Folder of the authority's records, in which tokens that enrol booths are made; None makes none here.",
    )
    recipient_keys: tuple[Path, ...] = Field(
        min_length=1, description="The private keys that open packets: the present one, and others while keys overlap."
    )
    secret: Path = Field(
        description="The desk's secret: what it keeps of opened packets lies under it (`intake pki secret`)."
    )
    decision_signer: str | None = Field(
        default=None, description="URI of the key that signs decisions and what is handed over; None accepts nothing."
    )
    decision_certificate: Path | None = Field(
        default=None, description="Its certificate (PEM); for a file, None is the .pem beside it."
    )
    producers: Path | None = Field(
        default=None, description="Folder of the producers that packets are handed over to (server/producers.py)."
    )
    slip_signers: tuple[str, ...] = Field(
        default=(),
        description="URIs of the centres' keys that sign slips at the counter (file:/etc/passbooth/centre-north.key).",
    )
    number_rules: dict[str, str] = Field(
        default={},
        description='How a counter makes numbers, by centre, "*" for every other: {"*": "{year}{random:8}"}.',
    )
    # Assumed, as the slip's: an office appointment for a document lies within three months.
    application_days: PositiveInt = Field(
        default=90, le=366, description="Days that an application is open when the counter names no other last day."
    )
    # Assumed: TR-03104 has a deadline and leaves its length to a regulation. Three days are a weekend and a working day.
    answer_within_h: PositiveFloat = Field(
        default=72.0, le=8_760, description="An order that the producer did not answer within this time is late."
    )
    totp: Literal["required", "optional"] = Field(
        default="required", description="Whether every user needs an authenticator beside the password."
    )
    idle_s: PositiveFloat = Field(default=15 * 60.0, description="A session ends after this time without a request.")
    session_s: PositiveFloat = Field(
        default=10 * 3600.0, description="A session ends after this time whatever happens."
    )
    login_tries: PositiveInt = Field(
        default=5,
        description="Wrong passwords for one name before it has to wait; four times as many of one address.",
    )
    lockout_s: PositiveFloat = Field(
        default=60.0, description="First waiting time; it doubles with each further wrong password."
    )
    opened_kept: PositiveInt = Field(default=16, description="Opened packets kept in memory.")
    opened_kept_s: PositiveFloat = Field(default=10 * 60.0, description="How long an opened packet is kept in memory.")
    profiles: tuple[str, ...] = Field(
        default=(),
        description="Profiles that booths of this office judge by; another one needs a second person. None: any installed one.",
    )
    recheck_s: PositiveFloat = Field(
        default=20.0, le=120, description="A checker that takes longer over one portrait is ended."
    )
    list_length: PositiveInt = Field(default=25, le=200, description="Packets on one page of the list.")

    @field_validator("number_rules")
    @classmethod
    def _are_rules(cls, rules: dict[str, str]) -> dict[str, str]:
        for line in rules.values():
            read_rule(line)
        return rules

    @classmethod
    def from_pki(cls, pki: Path, data: Path, **more: object) -> Self:
        """Settings that use the development keys in `pki`. Raises `SettingsError` when a file is missing."""
        files = _present(pki, "ca.pem", "desk.hpke", "desk.secret", "desk-tls.pem", "desk-tls.key")
        return cls.model_validate(
            {
                "data_dir": data,
                "trust": files["ca.pem"],
                "crl": _list_in(pki),
                "recipient_keys": [files["desk.hpke"]],
                "secret": files["desk.secret"],
                **_decision_key_in(pki),
                **_centre_key_in(pki),
                **_producers_in(pki, "DESK"),
                "tls_certificate": files["desk-tls.pem"],
                "tls_key": files["desk-tls.key"],
                **more,
            }
        )


def _staff_key_in(folder: Path) -> dict[str, str]:
    """The key that signs the list of staff codes when a key folder has one; the environment goes first."""
    key = (folder / "staff.key").resolve()
    named = "INTAKE_STAFF_SIGNER" in os.environ
    return {"staff_signer": f"file:{key}"} if key.is_file() and not named else {}


def _decision_key_in(folder: Path) -> dict[str, str]:
    """The key that signs decisions when a key folder has one; the environment goes first."""
    key = (folder / "desk.key").resolve()
    named = "DESK_DECISION_SIGNER" in os.environ
    return {"decision_signer": f"file:{key}"} if key.is_file() and not named else {}


def _centre_key_in(folder: Path) -> dict[str, tuple[str, ...]]:
    """The key of a centre when a key folder has one; the environment goes first."""
    key = (folder / "centre.key").resolve()
    named = "DESK_SLIP_SIGNERS" in os.environ
    return {"slip_signers": (f"file:{key}",)} if key.is_file() and not named else {}


def _producers_in(folder: Path, program: str) -> dict[str, Path]:
    """The producers when a key folder names some; the environment goes first."""
    producers = (folder / "producers").resolve()
    named = f"{program}_PRODUCERS" in os.environ
    return {"producers": producers} if producers.is_dir() and not named else {}


def _list_in(folder: Path) -> Path | None:
    """The revocation list of a key folder when it has one."""
    path = (folder / "ca.crl").resolve()
    return path if path.is_file() else None


def _present(folder: Path, *names: str) -> dict[str, Path]:
    """The files of a key folder by name, all of them there."""
    files = {name: (folder / name).resolve() for name in names}
    missing = [name for name, path in files.items() if not path.is_file()]
    if missing:
        raise SettingsError(
            f"The key folder {folder} lacks {', '.join(missing)}: docs/first-booth.md tells how each is made "
            f"(`intake pki init {folder}` makes development keys)."
        )
    return files
