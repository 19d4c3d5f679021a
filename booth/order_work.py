"""What the booth does for an order from afar (booth/remote_orders.py): one method for each kind, nothing else, and nothing that sees an applicant.

Rules
  - Begun only when nobody is here, no technician works, and none looks through the camera (`may_begin`). What takes time is a technician's own work
    (booth/maintenance.py): it keeps visits away, is shown on his page, and he can cancel it.
  - A technician at the booth has the last word: "in service" takes back only what an order switched; he switches back, takes a chosen profile back, or
    turns orders off in booth.toml.
  - A profile is chosen among those on this booth's disk, from its next start on; under systemd the booth then ends itself between visits to be started anew.
  - A support bundle leaves sealed for the back office's keys (keys.recipients), signed by the booth.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from booth.config import Config
from booth.errors import BoothError, MaintenanceRefusedError
from booth.faults import UNKNOWN_CODE, fault_of
from booth.maintenance import Maintenance
from booth.order_book import OrderLine
from booth.profile_choice import ChosenProfile, ProfileChoice
from booth.rotation import rotate
from booth.service_switch import OUT_REASONS, OutReason, utc_text
from crypto.booth_order import MAX_BUNDLE_BYTES, OrderKind, Outcome, seal_bundle
from crypto.errors import CryptoError
from crypto.keys import RecipientPublicKey, Signer, TrustStore
from validation.profile import profile_names

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Came:
    """What came of an order."""

    outcome: Outcome
    code: str | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    sealed_bundle: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Means:
    """What the work is done with."""

    config: Config
    configured_profile: str  # by booth.toml
    maintenance: Maintenance
    choice: ProfileChoice
    recipients: Sequence[RecipientPublicKey]
    signer: Callable[[], Signer]
    trust: Callable[[], TrustStore]
    is_free: Callable[[], bool]  # nobody is here, and no technician looks through the camera
    restart: Callable[[], bool]  # ends the booth where something starts it anew; False where nothing does


class OrderWork:
    """One booth's hands."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._restart_waits = False

    def may_begin(self) -> bool:
        """Whether an order can be begun now."""
        return self._means.is_free() and self._means.maintenance.state.busy is None

    @property
    def restart_waits(self) -> bool:
        """Whether a start would bring what was ordered."""
        return self._restart_waits

    def restart(self) -> None:
        """Ends the booth to be started anew, where something does that."""
        self._restart_waits = False
        self._means.restart()

    async def do(self, line: OrderLine) -> Came:
        """Does it; never raises for what can go wrong with an order."""
        try:
            return await self._do(line)
        except MaintenanceRefusedError:
            return Came(Outcome.REFUSED, "busy")
        except (BoothError, CryptoError) as error:
            return Came(Outcome.FAILED, fault_of(error).code)
        except OSError:
            return Came(Outcome.FAILED, "disk")
        except Exception:
            log.exception("an order met a defect")
            return Came(Outcome.FAILED, UNKNOWN_CODE)

    async def _do(self, line: OrderLine) -> Came:
        match line.kind:
            case OrderKind.RUN_TESTS:
                return await self._run_tests()
            case OrderKind.SUPPORT_BUNDLE:
                return await self._bundle(line.id)
            case OrderKind.CHANGE_PROFILE:
                return await self._change_profile(line)
            case OrderKind.OUT_OF_SERVICE:
                return self._out_of_service(line)
            case OrderKind.IN_SERVICE:
                return self._in_service()
            case OrderKind.ROTATE_KEY:
                return await self._rotate_key()

    async def _run_tests(self) -> Came:
        """Every self-test that an empty booth allows."""
        maintenance = self._means.maintenance
        maintenance.start_tests(occasion="order")
        begun = maintenance.turn
        async with maintenance.subscribe() as states:
            async for state in states:
                if state.busy is None or maintenance.turn != begun:
                    break
        tests = maintenance.state.tests
        assert tests is not None
        counts = {
            verdict: sum(one.verdict == verdict for one in tests.findings)
            for verdict in ("pass", "warn", "fail", "not_assessed")
        }
        return Came(Outcome.FAILED, "cancelled", counts) if tests.cancelled else Came(Outcome.DONE, None, counts)

    async def _bundle(self, order: str) -> Came:
        means = self._means
        bundle = await means.maintenance.bundle()
        if len(bundle) > MAX_BUNDLE_BYTES:
            return Came(Outcome.FAILED, "too_large", {"bytes": len(bundle)})
        sealed = await asyncio.to_thread(
            lambda: seal_bundle(order, bundle, means.recipients, means.signer(), datetime.now(UTC))
        )
        return Came(Outcome.DONE, None, {"bytes": len(bundle)}, sealed)

    async def _change_profile(self, line: OrderLine) -> Came:
        means, wanted = self._means, line.arguments["profile"]
        if wanted not in profile_names():
            return Came(Outcome.REFUSED, "profile.unknown")
        if wanted == means.configured_profile:
            await asyncio.to_thread(means.choice.forget)
        else:
            told = {"order": line.id, "by": line.by, "chosen_at": utc_text()}
            chosen = ChosenProfile(profile=wanted, instead_of=means.configured_profile, **told)
            await asyncio.to_thread(means.choice.choose, chosen)
        if wanted != means.config.profile.name:
            self._restart_waits = True
            return Came(Outcome.DONE, "next_start")
        return Came(Outcome.DONE, "already")

    def _out_of_service(self, line: OrderLine) -> Came:
        reasons: Mapping[str, OutReason] = {reason: reason for reason in OUT_REASONS}
        maintenance = self._means.maintenance
        if maintenance.state.switch is not None:
            return Came(Outcome.DONE, "already")
        maintenance.switch_off(reasons[line.arguments["reason"]], order=line.id)
        return Came(Outcome.DONE)

    def _in_service(self) -> Came:
        switch = self._means.maintenance.state.switch
        if switch is None:
            return Came(Outcome.DONE, "already")
        if switch.order is None:
            return Came(Outcome.REFUSED, "switched_at_the_booth")
        self._means.maintenance.switch_on()
        return Came(Outcome.DONE)

    async def _rotate_key(self) -> Came:
        means = self._means
        certificate = await asyncio.to_thread(rotate, means.config, means.trust())
        days = (certificate.not_valid_after_utc - datetime.now(UTC)).days
        return Came(Outcome.DONE, None, {"days": max(days, 0)})
