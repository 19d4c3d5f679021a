"""Slips as centres sign them: whose keys there are, for how long a slip counts, and the paper in every language of the house.

Rules: a centre's key is P-256 and in a file, its certificate beside it (crypto/slip.py); the centre's name is that of the certificate, so that no setting can
contradict it. A pair that was exchanged on disk counts from the next slip on. A slip counts until the application's last day, but never longer than the
certificate that vouches for it and never longer than MAX_DAYS. What is asked here blocks (files, drawing): callers with a loop use a thread.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import date, timedelta

from babel.dates import format_date
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from crypto.application import grouped_number
from crypto.errors import CryptoError
from crypto.keys import Signer, in_token, key_file, open_signer
from crypto.slip import Slip, centre_of, write_slip
from crypto.trust import Purpose, check_leaf, common_name, load_certificates
from server.counter_errors import SlipOverError, SlipUnavailableError
from server.errors import SettingsError
from server.messages import LANGUAGES, Messages
from server.slip_paper import Code, Paper, Words, draw_slip

log = logging.getLogger(__name__)

MAX_DAYS = 366


class CentreKeys:
    """The keys of the centres whose slips are printed here, by the centre's name."""

    def __init__(self, uris: Iterable[str]) -> None:
        """Raises `SettingsError` for a key that cannot be one of a centre."""
        self._uris: dict[str, str] = {}
        for uri in uris:
            try:
                if in_token(uri):
                    raise SettingsError("A centre's key is a file (file:/path/to/centre.key), not in a token.")
                name = common_name(_certificate(uri))
            except (CryptoError, OSError) as error:
                raise SettingsError(f"The centre's key {uri} cannot be used: {error}") from error
            if name in self._uris:
                raise SettingsError(f"Two keys are named for the centre {name}: name the present one only.")
            self._uris[name] = uri

    @property
    def names(self) -> tuple[str, ...]:
        """The centres."""
        return tuple(self._uris)

    def signer(self, centre: str) -> Signer:
        """The centre's key as it is now. Raises `SlipUnavailableError`."""
        uri = self._uris.get(centre)
        if uri is None:
            raise SlipUnavailableError(f"This desk has no key of the centre {centre}.")
        try:
            signer = open_signer(uri, curve=ec.SECP256R1)
            check_leaf(signer.certificate, Purpose.CENTRE)
        except (CryptoError, OSError) as error:
            log.warning("A centre's key cannot be used.", exc_info=error, extra={"centre": centre})
            raise SlipUnavailableError(f"The key of the centre {centre} cannot be used just now.") from error
        if common_name(signer.certificate) != centre:
            raise SlipUnavailableError(f"The certificate beside the key of {centre} is another centre's.")
        return signer


def slip_day(expires: date, today: date, certificate_end: date) -> date:
    """Until when a slip that is printed today counts. Raises `SlipOverError`."""
    last = min(expires, certificate_end, today + timedelta(days=MAX_DAYS))
    if last < today:
        raise SlipOverError("The application's last day has passed, or the centre's certificate has ended.")
    return last


def slip_text(number: str, last: date, signer: Signer) -> str:
    """What the code of a signed slip says. Raises `SealingError`, `CertificateRefusedError`."""
    centre = centre_of(signer.certificate)
    return write_slip(Slip(number, last, centre.name, centre.key_id), signer.sign)


def slip_drawing(number: str, last: date, centre: str, text: str, messages: Messages, code: Code = Code.QR) -> str:
    """The slip as SVG; `text` is what its code says."""
    words = tuple(
        Words(
            one.code,
            one.direction,
            one("slip.title"),
            one("slip.until", date=format_date(last, "medium", locale=one.form)),
            one("slip.steps"),
        )
        for one in (messages.languages[code] for code in LANGUAGES)
    )
    return draw_slip(Paper(centre, grouped_number(number), text, code, words))


def _certificate(uri: str) -> x509.Certificate:
    return load_certificates(key_file(uri).with_suffix(".pem"))[0]
