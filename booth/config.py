"""The booth's settings: booth.toml and the environment as one frozen tree.

Rules: the environment wins over the file (`PASSBOOTH_WEB__PORT=8081`, two underscores between section and key); relative paths are relative
to the file's folder; unknown keys are errors, not ignored; every error names the key and what is wrong, never a value (it may be a secret).
Devices without a section are not there: a booth without [lights] uses the room's light, without [controls] the camera's own automatic.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from booth.errors import ConfigInvalidError, ConfigUnreadableError
from booth.kiosk import Language
from booth.training import TrainingSection
from booth.voice import VoiceSection
from capture.calibration_run import CalibrationSettings
from capture.height import HeightSection
from capture.station import CameraControlSection, LightsSection
from hardware.camera import CameraSettings
from hardware.lift import LiftSettings

# Identities of crypto.package.Manifest.
Identity = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._\-]{0,63}$")]
MEBIBYTE = 1024 * 1024


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BoothSection(_Section):
    """[booth] who this is and where its data are."""

    id: Identity
    site: Identity
    centre: Identity
    data_dir: Path


class ProfileSection(_Section):
    """[profile] the national rules."""

    name: str = "icao"


class IntakeSection(_Section):
    """[intake] where packets go, and whose receipts and certificates count."""

    url: str
    trust: Path
    timeout_s: Annotated[float, Field(gt=0, le=600)] = 30.0
    # 2 s, 4 s, … at most every five minutes: an intake that comes back after a night finds its booths within that time.
    first_retry_s: Annotated[float, Field(gt=0, le=3600)] = 2.0
    longest_retry_s: Annotated[float, Field(gt=0, le=86400)] = 300.0
    # Where applicants ask for the state of their visit; the intake's own page unless told. It stands in a QR code: short is good.
    status_url: Annotated[str, Field(max_length=200)] | None = None

    @field_validator("url", "status_url")
    @classmethod
    def _is_https(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname:
            raise ValueError("must be an https:// address")
        if parts.fragment:
            raise ValueError("must have no part behind a number sign: the visit's token stands there")
        return url.rstrip("/")

    @property
    def status_page(self) -> str:
        """The address of the status page in use."""
        return self.status_url or f"{self.url}/status"


class KeysSection(_Section):
    """[keys] the booth's signing key and its certificate, and the back office's public keys.

    `passphrase_file` holds the passphrase of a key file, or the PIN of a token.
    """

    signer: str
    certificate: Path | None = None  # beside a key file unless told; a token has it here
    recipients: Annotated[list[Path], Field(min_length=1, max_length=8)]  # as many as a manifest names
    passphrase_file: Path | None = None

    @model_validator(mode="after")
    def _has_certificate(self) -> Self:
        if self.signer.startswith("pkcs11:") and self.certificate is None:
            raise ValueError("a key in a token needs keys.certificate, the file of its certificate")
        return self


class WebSection(_Section):
    """[web] the pages; always on loopback."""

    port: Annotated[int, Field(ge=0, le=65535)] = 8080


class TechnicianSection(_Section):
    """[technician] who sees the technician's pages (booth/technician_login.py)."""

    # The file of the passphrase's argon2id hash, made by `booth config passphrase`; in data_dir unless told.
    passphrase_hash: Path | None = None
    session_minutes: Annotated[float, Field(gt=0, le=240)] = 30.0


class VisitSection(_Section):
    """[visit] how a visit feels."""

    language: Language = "en"
    patience: Annotated[float, Field(gt=0, le=100)] = Field(default=1.0, description="factor on every time-out")
    # Steps shown after everything was right for long enough; 0: the photo is taken then.
    countdown: Annotated[int, Field(ge=0, le=5)] = 0
    countdown_step_s: Annotated[float, Field(gt=0, le=2)] = 0.3
    burst: Annotated[int, Field(ge=1, le=10)] = 3
    # Lamps change a little while framing, for the presentation attack score (docs/pad.md); false: no score.
    active_light: bool = True


class OutboxSection(_Section):
    """[outbox] how much may wait for the intake, and how long, before no visit may begin."""

    # Two weeks without network at 140 visits a day; packets have 0.3 to 6 MB (product.md).
    max_packets: Annotated[int, Field(ge=1)] = 2_000
    max_bytes: Annotated[int, Field(ge=MEBIBYTE)] = 8_000 * MEBIBYTE
    min_free_bytes: Annotated[int, Field(ge=0)] = 500 * MEBIBYTE
    max_age_days: Annotated[float, Field(gt=0, le=366)] = 28.0
    # What always stays; an older receipt goes when an export has it too (booth/outbox_receipts.py).
    receipts_kept: Annotated[int, Field(ge=1)] = 20_000
    receipt_days_kept: Annotated[float, Field(ge=1, le=36_600)] = 400.0


class DiagnosticsSection(_Section):
    """[diagnostics] the self-tests that run by themselves (booth/nightly.py)."""

    # The booth's local time; empty: no nightly run.
    nightly_at: str = "03:30"

    @field_validator("nightly_at")
    @classmethod
    def _is_time(cls, text: str) -> str:
        if text and not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", text, re.ASCII):
            raise ValueError("must be a time such as 03:30, or empty for no nightly self-tests")
        return text


class FleetSection(_Section):
    """[fleet] what this booth tells of its health, and whether it can be asked from afar (docs/fleet.md)."""

    heartbeat: bool = True
    # Until the intake wishes another one.
    interval_s: Annotated[float, Field(ge=60, le=3600)] = 300.0
    orders: bool = True


class Config(BaseSettings):
    """Everything the booth is told."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="PASSBOOTH_", env_nested_delimiter="__", case_sensitive=False
    )

    booth: BoothSection
    camera: CameraSettings
    controls: CameraControlSection | None = None
    lights: LightsSection | None = None
    lift: LiftSettings | None = None
    height: HeightSection | None = None
    profile: ProfileSection = ProfileSection()
    intake: IntakeSection
    keys: KeysSection
    web: WebSection = WebSection()
    technician: TechnicianSection = TechnicianSection()
    visit: VisitSection = VisitSection()
    voice: VoiceSection = VoiceSection()
    outbox: OutboxSection = OutboxSection()
    calibration: CalibrationSettings = CalibrationSettings()
    diagnostics: DiagnosticsSection = DiagnosticsSection()
    fleet: FleetSection = FleetSection()
    training: TrainingSection | None = None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment first, then what `load` read from the file; nothing else is looked at."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads the file and the environment; raises ConfigUnreadableError or ConfigInvalidError."""
        try:
            tree = tomllib.loads(path.read_text("utf-8"))
        except OSError as error:
            raise ConfigUnreadableError(f"The settings {path} cannot be read: {error.strerror}.") from error
        except UnicodeDecodeError as error:
            raise ConfigUnreadableError(f"The settings {path} are not UTF-8 text.") from error
        except tomllib.TOMLDecodeError as error:
            raise ConfigUnreadableError(f"The settings {path} are not valid TOML: {error}.") from error
        try:
            config = cls(**tree)
        except ValidationError as error:
            raise ConfigInvalidError(f"The settings {path} cannot be used: {_faults(error)}.") from None
        return config.beside(path.resolve().parent)

    def beside(self, folder: Path) -> Self:
        """The same settings with every relative path taken from `folder`."""
        signer = urlsplit(self.keys.signer)
        keys: dict[str, Any] = {"recipients": [folder / path for path in self.keys.recipients]}
        if signer.scheme == "file" and not unquote(signer.path).startswith("/"):
            keys["signer"] = f"file:{folder / unquote(signer.path)}"
        for name in ("passphrase_file", "certificate"):
            if (path := getattr(self.keys, name)) is not None:
                keys[name] = folder / path
        technician: dict[str, Any] = {}
        if self.technician.passphrase_hash is not None:
            technician["passphrase_hash"] = folder / self.technician.passphrase_hash
        return self.model_copy(
            update={
                "booth": self.booth.model_copy(update={"data_dir": folder / self.booth.data_dir}),
                "intake": self.intake.model_copy(update={"trust": folder / self.intake.trust}),
                "keys": self.keys.model_copy(update=keys),
                "technician": self.technician.model_copy(update=technician),
            }
        )

    @property
    def technician_file(self) -> Path:
        """Where the hash of the technician's passphrase is."""
        return self.technician.passphrase_hash or self.booth.data_dir / "technician.argon2id"

    def passphrase(self) -> bytes | None:
        """The passphrase of the signing key or the PIN of its token, read now and not kept."""
        path = self.keys.passphrase_file
        if path is None:
            return None
        try:
            if path.stat().st_mode & 0o077:
                raise ConfigInvalidError(
                    f"keys.passphrase_file: {path} can be read by others: make it 0600 (chmod 600)."
                )
            return path.read_bytes().rstrip(b"\r\n")
        except OSError as error:
            raise ConfigInvalidError(f"keys.passphrase_file: {path} cannot be read: {error.strerror}.") from error


def _faults(error: ValidationError) -> str:
    """Every wrong key with what is wrong, without its value."""
    faults = []
    for item in error.errors(include_input=False, include_url=False):
        key = ".".join(str(part) for part in item["loc"] if part not in {"SegmentMap", "FixtureMap"})
        text = item["msg"].removeprefix("Value error, ")
        if item["type"] == "string_pattern_mismatch":  # Identity alone has one
            text = "takes 1 to 64 letters, digits, dots, dashes and underscores, the first one a letter or digit"
        faults.append(f"{key}: {'unknown key' if item['type'] == 'extra_forbidden' else text}")
    return "; ".join(dict.fromkeys(faults))
