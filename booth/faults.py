"""Every error that can reach the booth, as a Fault: what the applicant is told, what the technician does, and whether a visit can go on.

The table is keyed by the errors' stable codes, so that this file imports no driver and no model; whose fault it is and whether a retry helps
stand on the error itself. A test walks all error classes of the house and fails on a leaf without a line here, and on a line without a leaf.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType

from booth.events import Notice


class Severity(IntEnum):
    """What the fault means for visits."""

    TOLD = 1  # for the log and the technician's page; no applicant notices
    IMPAIRS = 2  # worth telling; visits go on
    OBSTRUCTS = 3  # no portrait can be taken or kept while it lasts


@dataclass(frozen=True, slots=True)
class Fault:
    """One error as people need it."""

    code: str
    blame: str
    retry: bool
    severity: Severity
    message: str  # message key for the applicant
    hint: str  # what the technician does
    detail: str  # the error's own sentence

    @property
    def notice(self) -> Notice:
        """The applicant's part."""
        return Notice(self.code, self.message)


UNKNOWN_CODE = "booth.unexpected"
_T, _I, _O = Severity.TOLD, Severity.IMPAIRS, Severity.OBSTRUCTS

_CABLE = "Check cable and power of the device; it is used again by itself when it is back."
_INSTALL = "The installation is damaged: install the locked packages again."
_DEFECT = "A defect of this software: send the event log to the maker."
_KEYS = "`booth keys show` judges what [keys] and [intake] name; a booth without a certificate gets one with `booth keys enrol`."
_ENROL = "The authority took this booth's certificate back: ask why, then enrol the booth again (`booth keys enrol`)."
_SLIP = "Look at the applicant's slip: is it whole, is it ours? Often: print one with `intake slip make` and compare."
_CENTRES = "No known centre signed this slip: does `GET /v1/centres` give the centre's certificate, and did this booth fetch it?"
_DISK = "Check the disk of data_dir: space, health, owner."
_INTAKE = "Look at the intake's log for this packet; `booth outbox list` shows it. Nothing is lost meanwhile."
_ORDERS = "Somebody sent this booth an order that no trusted desk gave: nothing was done. Find out who; look at [intake] trust."
_NET = "Check the network and the intake; packets wait and are sent by themselves."

# code: (severity, applicant's message key, technician's hint)
TABLE: Mapping[str, tuple[Severity, str, str]] = MappingProxyType(
    {
        # hardware
        "hardware.settings": (_O, "fault.booth", "Correct the device's section in booth.toml."),
        "link.missing": (_O, "fault.device", _CABLE),
        "link.busy": (_O, "fault.device", "Another program holds the port: end it, or correct the port's owner."),
        "link.lost": (_O, "fault.device", _CABLE),
        "link.silent": (_O, "fault.device", _CABLE),
        "link.garbled": (_O, "fault.device", "Check speed and address of the device in booth.toml, then its cable."),
        "lights.lost": (_O, "fault.lights", _CABLE),
        "lights.timeout": (_O, "fault.lights", _CABLE),
        "lights.answer": (_O, "fault.lights", "Check the lamp controller's firmware and its serial settings."),
        "lights.refused": (
            _O,
            "fault.lights",
            "The lamp controller limits its output: check its own brightness limit.",
        ),
        "lights.level": (_O, "fault.lights", _DEFECT),
        "camera.lost": (_O, "fault.camera", _CABLE),
        "camera.timeout": (_O, "fault.camera", "The camera sends no pictures: check its cable, then its power."),
        "camera.picture": (
            _O,
            "fault.camera",
            "The camera's pictures are damaged, frozen or black: check lens cap, cable and format; switch it off and on.",
        ),
        "camera.still": (_O, "fault.camera", "Check still_url and the camera's still format."),
        "control.lost": (_I, "fault.controls", _CABLE),
        "control.timeout": (_I, "fault.controls", _CABLE),
        "control.answer": (_I, "fault.controls", "Check the control line's speed and the camera's address."),
        "control.refused": (_I, "fault.controls", "Take the refused setting out of [controls.settings] or correct it."),
        "control.syntax": (_I, "fault.controls", "Check the camera's model in [controls]."),
        "control.value": (_I, "fault.controls", _DEFECT),
        "lift.lost": (_I, "fault.lift", _CABLE),
        "lift.timeout": (_I, "fault.lift", _CABLE),
        "lift.answer": (
            _I,
            "fault.lift",
            "Check the axis' speed in [lift] and its cable: it must speak PBL/1 (docs/height.md).",
        ),
        "lift.refused": (
            _I,
            "fault.lift",
            "Compare the limits in [lift] with those of the axis; send it to its zero position by its own remote.",
        ),
        "lift.obstructed": (
            _I,
            "fault.lift",
            "Something is in the way of the camera's axis: look, take it away. The next visit moves it again.",
        ),
        "lift.fault": (_I, "fault.lift", "The axis tells a fault of its own: see its manual, switch it off and on."),
        "lift.stalled": (
            _I,
            "fault.lift",
            "The axis is on and does not move: check motor, belt and load. Leave it switched off until it is repaired.",
        ),
        "lift.range": (_I, "fault.lift", _DEFECT),
        # capture
        "capture.upscaling_refused": (
            _O,
            "fault.booth",
            "The camera has too few pixels for the profile: change one of them.",
        ),
        "capture.profile_unsatisfiable": (_O, "fault.booth", "Set a larger still size, or choose another profile."),
        "capture.encoding_failed": (_I, "fault.booth", _DEFECT),
        "capture.stale_still": (_I, "fault.camera", "The camera's still address serves stored pictures: correct it."),
        "capture.lamps_not_measurable": (
            _T,
            "fault.lights",
            "Close door and curtain, leave the booth empty, measure again.",
        ),
        "capture.card_not_readable": (
            _T,
            "fault.camera",
            "Hang the test card upright in its holder, whole in the picture, and start again.",
        ),
        "capture.white_not_neutral": (
            _T,
            "fault.camera",
            "Fix a grey card on the test card, light it with the booth's lamps alone, and calibrate again.",
        ),
        # validation
        "image.unreadable": (_I, "fault.camera", "The picture is damaged: check the camera's cable."),
        "image.too_large": (_I, "fault.camera", "Set a smaller still size."),
        "image.not_judgeable": (_I, "fault.camera", "Set a colour picture format for the camera."),
        "profile.unknown": (_O, "fault.booth", "Correct [profile] name in booth.toml."),
        "profile.invalid": (_O, "fault.booth", "Correct the profile file."),
        "model.failed": (_O, "fault.booth", _INSTALL),
        # crypto
        "crypto.canonical_json": (_I, "fault.not_saved", _DEFECT),
        "crypto.package": (_I, "fault.not_saved", _DEFECT),
        "crypto.packet_format": (_I, "fault.not_saved", _DEFECT),
        "crypto.packet_refused": (_T, "fault.not_saved", "The packet is not for this key, or was changed."),
        "crypto.sealing": (_I, "fault.not_saved", _KEYS),
        "crypto.signature_refused": (_T, "fault.not_saved", _KEYS),
        "crypto.certificate_refused": (_I, "fault.not_saved", _KEYS),
        "crypto.certificate_revoked": (_I, "fault.not_saved", _ENROL),
        "crypto.staff_code": (_T, "fault.unknown", "Type the staff code again: eighteen digits."),
        "crypto.staff_list": (
            _T,
            "fault.booth",
            "The intake's list of staff codes cannot be believed: check its staff key and [intake] trust. Staff can still end visits.",
        ),
        "crypto.calibration": (
            _I,
            "fault.booth",
            "A calibration on the disk cannot be believed: calibrate the booth anew (`booth calibrate`), and find out who changed the file.",
        ),
        "crypto.enrolment": (
            _T,
            "fault.booth",
            "Ask the intake for a new enrolment token and start `booth keys enrol` again.",
        ),
        "crypto.application_number": (
            _T,
            "identify.refused",
            "A number was typed or scanned wrongly: nothing to do. Often: compare a printed slip with docs/application.md.",
        ),
        "crypto.slip_malformed": (_T, "identify.unreadable", _SLIP),
        "crypto.slip_unknown_centre": (_T, "identify.unconfirmed", _CENTRES),
        "crypto.slip_forged": (_T, "identify.unconfirmed", _SLIP),
        "crypto.slip_expired": (_T, "identify.expired", "Nothing to do: the applicant gets a new slip at the counter."),
        "crypto.face_record": (_I, "fault.not_saved", _DEFECT),
        "crypto.key_unavailable": (_O, "fault.booth", _KEYS),
        "crypto.signing": (
            _O,
            "fault.booth",
            "The token with the signing key does not answer: plug it in, or look at `booth keys show`; it is used again by itself.",
        ),
        "crypto.heartbeat": (_T, "fault.network", _DEFECT),
        "crypto.booth_order": (_T, "fault.network", _ORDERS),
        "crypto.decision": (_T, "fault.network", _INTAKE),
        "crypto.hand_over": (_T, "fault.network", _INTAKE),
        "crypto.receipt": (_T, "fault.network", _INTAKE),
        "crypto.log_proof": (
            _T,
            "fault.network",
            "The intake's receipts contradict each other: tell its operator, and keep this booth's data folder as it is.",
        ),
        "crypto.retention_record": (_T, "fault.network", _INTAKE),
        "crypto.audit_entry": (_T, "fault.network", _INTAKE),
        "crypto.revocation_list": (_T, "fault.booth", _KEYS),
        "crypto.request_signature": (_T, "fault.network", _KEYS),
        "crypto.request_revoked": (_T, "fault.network", _ENROL),
        "crypto.request_clock": (_T, "fault.network", "Set the booth's clock (NTP)."),
        # booth
        "command.malformed": (
            _T,
            "fault.unknown",
            "A page sent a command that the booth does not know: load it again.",
        ),
        "command.refused": (_T, "fault.unknown", "Nothing to do: the page shows the present state."),
        "config.unreadable": (_O, "fault.booth", "Correct the path or the file's syntax."),
        "config.invalid": (_O, "fault.booth", "Correct the key that is named."),
        "config.passphrase": (_T, "fault.booth", "Set the passphrase with `booth config passphrase`."),
        "outbox.full": (_O, "fault.outbox_full", _NET + " Or raise [outbox] when the disk allows it."),
        "outbox.in_use": (
            _O,
            "fault.booth",
            "End the other one (`systemctl stop passbooth-booth`), or give this one a data_dir of its own.",
        ),
        "outbox.write": (_O, "fault.not_saved", _DISK),
        "outbox.unreadable": (_T, "fault.not_saved", _DISK + " The packet is tried again by itself."),
        "outbox.damaged": (_T, "fault.not_saved", _DISK + " `booth outbox list` shows the packet."),
        "outbox.revoked": (_T, "fault.not_saved", "Storing took longer than the visit: check the disk's health."),
        "outbox.export": (_T, "fault.not_saved", "Check the folder or stick that was named: is it there, has it room?"),
        "intake.unreachable": (_T, "fault.network", _NET),
        "intake.answer": (_T, "fault.network", _INTAKE),
        "intake.refused": (_T, "fault.network", _INTAKE),
        "intake.receipt": (_T, "fault.network", "The intake's answer proves nothing: check [intake] url and trust."),
        "intake.clock": (_T, "fault.network", "Set the booth's clock: check its time server (NTP). Packets wait."),
        "booth.revoked": (
            _O,
            "fault.revoked",
            "Ask the authority why, then give the booth a new certificate: `booth keys enrol` with a new token.",
        ),
        "booth.software_blocked": (
            _O,
            "fault.revoked",
            "Update the booth's software to a version that the intake takes; the packets that wait are sent then.",
        ),
        "revocation.stale": (
            _T,
            "fault.booth",
            "The authority issues no new list, or the booth cannot fetch it: check both. Visits go on.",
        ),
        "centres.unusable": (
            _T,
            "fault.booth",
            "Look at what `GET /v1/centres` of the intake gives, and at centres.pem in data_dir; centres known before still count.",
        ),
        "staff.stale": (
            _T,
            "fault.booth",
            "No staff code counts until the intake gives a new list: check the network and the intake's staff key. Staff can still end visits.",
        ),
        "lamps.taken_back": (_T, "fault.lights", "Nothing to do: a visit needed the lamps while they were tested."),
        "checker.stopped": (
            _O,
            "fault.booth",
            "The checking thread ended: the booth starts it again; see the event log.",
        ),
        "checker.given_up": (
            _T,
            "fault.slow",
            "Judging took longer than its limit: check what else this machine runs.",
        ),
        "maintenance.refused": (_T, "fault.unknown", "Wait until the visit or the work under way is over."),
        "maintenance.history": (_T, "fault.unknown", _DISK + " Only the trends of self-tests are missing."),
        "maintenance.bundle": (_T, "fault.unknown", "Name a file in a folder that is there and has room."),
        "maintenance.socket": (
            _T,
            "fault.unknown",
            "Is the running booth of another version, or still starting? Try again, else restart it.",
        ),
        "maintenance.unknown_check": (_T, "fault.unknown", "`booth diagnose --list` shows every check."),
        "maintenance.out_of_service": (
            _O,
            "fault.booth",
            "Nothing is broken: visits begin again when the technician's work is over and the switch is on (technician's page, `booth diagnose --in-service`).",
        ),
        "training.lost": (_T, "fault.unknown", "End this booth and start `booth train` again."),
        "keys.certificate": (
            _O,
            "fault.booth",
            "Renew the booth's certificate named in [keys], or set the booth's clock (NTP) if the certificate's dates are right.",
        ),
        "messages.catalogue": (_O, "fault.booth", _INSTALL),
        # anything else
        UNKNOWN_CODE: (_I, "fault.booth", _DEFECT),
    }
)


def fault_of(error: BaseException) -> Fault:
    """The fault behind an error of the house; anything else is our own defect, told by its type alone."""
    code = getattr(error, "code", None)
    if isinstance(code, str) and code in TABLE:
        severity, message, hint = TABLE[code]
        blame, retry = str(getattr(error, "blame", "us")), bool(getattr(error, "retry", False))
        return Fault(code, blame, retry, severity, message, hint, str(error))
    severity, message, hint = TABLE[UNKNOWN_CODE]
    # A stranger's message may hold anything; its type does not.
    return Fault(UNKNOWN_CODE, "us", False, severity, message, hint, f"Unexpected {type(error).__name__}.")
