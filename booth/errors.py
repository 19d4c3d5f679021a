"""Errors of the booth: whose fault, whether to retry, one plain sentence.

    BoothError
    +-- CommandError              a page asked for something
    |   +-- CommandMalformedError   that no booth understands
    |   +-- CommandRefusedError     that the visit does not allow now
    +-- ConfigError               booth.toml or the environment
    |   +-- ConfigUnreadableError   no such file, not TOML
    |   +-- ConfigInvalidError      a key with a wrong or missing value
    |   +-- PassphraseError         the technician's passphrase, or its file
    +-- OutboxError               the store of sealed packets
    |   +-- OutboxFullError         quota or disk: no visit may start
    |   +-- OutboxInUseError        another booth has it open
    |   +-- OutboxWriteError        the disk refused; nothing was confirmed
    |   +-- OutboxUnreadableError   the disk does not give a packet back now; it may later
    |   +-- OutboxDamagedError      what the disk gave back is not what was stored
    |   +-- CommitRevokedError      the visit ended before the commit
    |   +-- OutboxExportError       a technician's copy could not be made
    +-- UplinkError               the way to the intake
    |   +-- IntakeUnreachableError  not now: try again
    |   +-- IntakeAnswerError       not now, and about one packet alone
    |   +-- IntakeRefusedError      not ever: a technician must look
    |   +-- ReceiptRejectedError    an answer that proves nothing
    |   +-- IntakeClockError        refused because of the clock
    |   +-- SoftwareRefusedError    refused because of the booth's software version
    +-- KeysError                 the booth's own keys
    |   +-- CertificateNotValidError its certificate is expired, or not valid yet
    |   +-- BoothRevokedError       the authority took its certificate back
    |   +-- RevocationListStaleError what is known of revocations is old
    |   +-- StaffListStaleError     the list of staff codes is past its end
    |   +-- CentresUnusableError    what is known of centres, or came about them
    +-- LampsError                the lamps between visit and tests
    |   +-- LampsTakenBackError     the visit needs them now
    +-- MaintenanceError          a technician's work
    |   +-- MaintenanceRefusedError not now, or not this
    |   +-- UnknownCheckError       there is no such self-test
    |   +-- OutOfServiceError       a technician has the booth
    |   +-- HistoryUnusableError    what the self-tests found over the weeks
    |   +-- SupportBundleError      it could not be written where it was wanted
    |   +-- ControlSocketError      the line between `booth diagnose` and a running booth
    |   +-- TrainerLostError        the program that hides faults for a training
    +-- CheckerError              the checking thread
        +-- CheckerStoppedError     it has ended
        +-- BurstGivenUpError       the visit no longer waits for its result

A refused photo is data (a Report), never one of these.
"""

from __future__ import annotations

from typing import ClassVar, Literal

Blame = Literal["us", "device", "peer", "operator"]


class BoothError(Exception):
    """Root of the booth's errors."""

    code: ClassVar[str] = "booth.error"
    blame: ClassVar[Blame] = "us"
    retry: ClassVar[bool] = False


class CommandError(BoothError):
    """A page's command cannot be followed."""


class CommandMalformedError(CommandError):
    """The command or its body is not one that the booth understands."""

    code = "command.malformed"
    blame = "operator"


class CommandRefusedError(CommandError):
    """The visit does not allow the command in its present state."""

    code = "command.refused"
    blame = "operator"

    def __init__(self, command: str, state: str) -> None:
        super().__init__(f"The command {command!r} is not allowed while the visit is in {state!r}.")
        self.command = command
        self.state = state


class ConfigError(BoothError):
    """The configuration cannot be used."""


class ConfigUnreadableError(ConfigError):
    """The file is missing, unreadable or not TOML."""

    code = "config.unreadable"
    blame = "operator"


class ConfigInvalidError(ConfigError):
    """A key is missing, unknown or has a wrong value."""

    code = "config.invalid"
    blame = "operator"


class PassphraseError(ConfigError):
    """The technician's passphrase is too short, or the file with its hash cannot be used."""

    code = "config.passphrase"
    blame = "operator"


class OutboxError(BoothError):
    """The outbox could not do what was asked."""


class OutboxFullError(OutboxError):
    """Quota reached or too little disk space: no visit may start."""

    code = "outbox.full"
    blame = "us"
    retry = True


class OutboxInUseError(OutboxError):
    """Another booth's process has the outbox open: two would put it in order under each other's hands."""

    code = "outbox.in_use"
    blame = "operator"
    retry = True


class OutboxWriteError(OutboxError):
    """The disk or the database refused a write: the packet was not committed."""

    code = "outbox.write"
    blame = "device"
    retry = True


class OutboxUnreadableError(OutboxError):
    """A stored packet cannot be read now; nothing says that it is damaged."""

    code = "outbox.unreadable"
    blame = "device"
    retry = True


class OutboxDamagedError(OutboxError):
    """A stored packet or the database does not read back as it was written."""

    code = "outbox.damaged"
    blame = "device"


class CommitRevokedError(OutboxError):
    """The visit was given up before its packet was committed; nothing is stored."""

    code = "outbox.revoked"
    blame = "us"


class OutboxExportError(OutboxError):
    """A copy of the outbox could not be made; nothing of it is left."""

    code = "outbox.export"
    blame = "operator"
    retry = True


class UplinkError(BoothError):
    """A packet did not reach the intake."""


class IntakeUnreachableError(UplinkError):
    """No answer, overload, or nothing for this booth at this address: no packet can be delivered now."""

    code = "intake.unreachable"
    blame = "peer"
    retry = True

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s  # what the intake asks for, if it does


class IntakeAnswerError(UplinkError):
    """An answer that is neither a receipt nor a refusal; it may be about one packet alone."""

    code = "intake.answer"
    blame = "peer"
    retry = True

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s  # what the intake asks for, if it does


class IntakeRefusedError(UplinkError):
    """The intake refuses this packet for good; a technician must look."""

    code = "intake.refused"
    blame = "peer"

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason  # the intake's own code


class ReceiptRejectedError(UplinkError):
    """The intake's receipt does not prove that it has this packet."""

    code = "intake.receipt"
    blame = "peer"
    retry = True


class IntakeClockError(UplinkError):
    """The intake refuses what the booth signs, because the two clocks differ."""

    code = "intake.clock"
    blame = "operator"
    retry = True

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s  # what the intake asks for, if it does


class SoftwareRefusedError(UplinkError):
    """The intake takes nothing from this version of the booth's software, and says why."""

    code = "booth.software_blocked"
    blame = "operator"


class KeysError(BoothError):
    """The booth's own keys cannot be used."""


class CertificateNotValidError(KeysError):
    """The booth's certificate is expired or not valid yet: no intake would take what it signs."""

    code = "keys.certificate"
    blame = "operator"


class BoothRevokedError(KeysError):
    """The authority took the booth's certificate back: no intake takes what it signs until it is enrolled again."""

    code = "booth.revoked"
    blame = "operator"


class RevocationListStaleError(KeysError):
    """The newest revocation list that the booth knows is past its end."""

    code = "revocation.stale"
    blame = "peer"
    retry = True


class CentresUnusableError(KeysError):
    """The centres' certificates on the disk, or those that the intake gave, cannot be used; what was known before still counts."""

    code = "centres.unusable"
    blame = "peer"
    retry = True


class StaffListStaleError(KeysError):
    """The newest list of staff codes that the booth knows is past its end: no code counts."""

    code = "staff.stale"
    blame = "peer"
    retry = True


class LampsError(BoothError):
    """The lamps, as the keeper gives them out."""


class LampsTakenBackError(LampsError):
    """Another scene was wanted while the lamps were lent; what the borrower began is void."""

    code = "lamps.taken_back"
    retry = True


class MaintenanceError(BoothError):
    """A technician's work on the booth."""


class MaintenanceRefusedError(MaintenanceError):
    """What the technician asked for cannot begin now; the sentence says when."""

    code = "maintenance.refused"
    blame = "operator"
    retry = True

    def __init__(self, message: str, *, soon: bool = False) -> None:
        super().__init__(message)
        self.soon = soon  # the booth is still clearing: it takes a second or two


class UnknownCheckError(MaintenanceError):
    """A self-test was asked for by an id that no check has."""

    code = "maintenance.unknown_check"
    blame = "operator"


class OutOfServiceError(MaintenanceError):
    """Not raised: the fault that stands while a technician has the booth, by the switch or by work under way."""

    code = "maintenance.out_of_service"
    blame = "operator"
    retry = True


class TrainerLostError(MaintenanceError):
    """`booth train` does not answer the training booth's pages."""

    code = "training.lost"
    blame = "operator"
    retry = True


class HistoryUnusableError(MaintenanceError):
    """The history of self-tests cannot be read or written; the tests themselves go on."""

    code = "maintenance.history"
    blame = "device"
    retry = True


class SupportBundleError(MaintenanceError):
    """The support bundle could not be written where it was wanted."""

    code = "maintenance.bundle"
    blame = "operator"
    retry = True


class ControlSocketError(MaintenanceError):
    """The control socket of a running booth does not answer as a booth does."""

    code = "maintenance.socket"
    blame = "us"
    retry = True


class CheckerError(BoothError):
    """The checking thread could not answer."""


class CheckerStoppedError(CheckerError):
    """The checking thread has ended."""

    code = "checker.stopped"
    blame = "us"
    retry = True


class BurstGivenUpError(CheckerError):
    """The visit went on before these stills were judged; they and their result are overwritten."""

    code = "checker.given_up"
    blame = "us"
    retry = True
