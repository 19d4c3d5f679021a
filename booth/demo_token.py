"""The demo's booth with its key in a token (`booth demo --token`): SoftHSM2 stands for the device that a real booth has.

Order: an own token store in the demo's folder → a token with a random PIN → the key made in it → a certificate of the development authority → the
booth's key and certificate that lie in files are removed, so that no other key can sign for this booth.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

MODULES = (Path("/usr/lib/softhsm/libsofthsm2.so"), Path("/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"))
LABEL = "passbooth-demo"
UTILITY_S = 30.0


class NoSoftHsmError(Exception):
    """SoftHSM2 is not installed, or does not make a token."""


@dataclass(frozen=True, slots=True)
class DemoToken:
    """What the controller needs to find its key."""

    keys_toml: str
    environment: Mapping[str, str]


async def make_demo_token(data: Path, pki: Path, booth: str) -> DemoToken:
    """A token with the booth's key, and its certificate. Raises NoSoftHsmError, CryptoError."""
    module = next((path for path in MODULES if path.exists()), None)
    if module is None:
        raise NoSoftHsmError("SoftHSM2 is not installed: apt-get install softhsm2.")
    folder = data / "token"
    store = folder / "store"
    store.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings, pin = folder / "softhsm2.conf", folder / "pin"
    settings.write_text(f"directories.tokendir = {store}\nobjectstore.backend = file\nlog.level = ERROR\n")
    environment = {"SOFTHSM2_CONF": str(settings)}
    if not pin.exists():
        number = f"{secrets.randbelow(10**8):08}"
        await _add_token(os.environ | environment, number)
        with os.fdopen(os.open(pin, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(number)
    uri = f"pkcs11:token={LABEL};object=booth?module-path={module}"
    certificate = folder / "booth.pem"
    os.environ |= environment  # the module reads it when it starts, in this process too
    await asyncio.to_thread(_certify, booth, uri, pin.read_bytes(), certificate, pki)
    for name in ("booth.key", "booth.pem"):
        (pki / name).unlink(missing_ok=True)
    keys = f'signer = "{uri}"\ncertificate = "{certificate}"\npassphrase_file = "{pin}"'
    return DemoToken(keys, environment)


async def _add_token(environment: Mapping[str, str], pin: str) -> None:
    # SoftHSM's tool takes PINs as arguments only; this one protects a demo.
    arguments = ["--init-token", "--free", "--label", LABEL, "--pin", pin, "--so-pin", pin]
    try:
        making = await asyncio.create_subprocess_exec(
            "softhsm2-util",
            *arguments,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
    except OSError as error:
        raise NoSoftHsmError("softhsm2-util is not installed: apt-get install softhsm2.") from error
    async with asyncio.timeout(UTILITY_S):
        said, _ = await making.communicate()
    if making.returncode != 0:
        raise NoSoftHsmError(f"softhsm2-util made no token: {said.decode(errors='replace').strip()}")


def _certify(booth: str, uri: str, pin: bytes, certificate: Path, pki: Path) -> None:
    """The key in the token, with a certificate, if it has none yet."""
    from cryptography.hazmat.primitives import serialization

    from crypto.enrolment import open_booth_keys
    from crypto.issuance import Issuer, Profile, issue, read_csr
    from crypto.keys import load_key, load_trust

    keys = open_booth_keys(booth, uri, lambda: pin, certificate)
    try:
        if keys.present() is not None:
            return
        trust, now = load_trust(pki / "ca.pem"), datetime.now(UTC)
        asked = read_csr(keys.make())
        authority = Issuer(trust.roots[0], load_key(pki / "ca.key", None))
        leaf = issue(authority, asked.public_key, asked.identity, Profile.BOOTH, now)
        keys.install(leaf.public_bytes(serialization.Encoding.PEM), trust, now)
    finally:
        keys.close()
