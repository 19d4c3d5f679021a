"""The errors of applications and of the status page; server/errors.py has the root and the rules.

ApplicationError             what a booth asks about an application: ApplicationUnknownError, ApplicationExpiredError, ApplicationCapturedError,
ApplicationLookupsError
ApplicationUndecidableError  an operator's command
StatusUnknownError, StatusAsksError                 what an applicant asks with his token
"""

from __future__ import annotations

from server.errors import RequestError, ServerError


class ApplicationError(RequestError):
    """What is asked about an application cannot be answered or done; its number is never told."""

    code = "application"
    title = "The application does not allow this"


class ApplicationUnknownError(ApplicationError):
    """No application of this number is filed here."""

    code = "application.unknown"
    status = 404
    title = "No such application is filed"


class RegistryEmptyError(ApplicationError):
    """No application at all is filed: nobody imports them here."""

    code = "application.no_registry"
    status = 404
    title = "This intake has no registry of applications"


class ApplicationExpiredError(ApplicationError):
    """The application's last day is over."""

    code = "application.expired"
    status = 404
    title = "The application has expired"


class ApplicationCapturedError(ApplicationError):
    """A portrait of the application waits for its decision, or was accepted."""

    code = "application.captured"
    status = 409
    title = "The application has its portrait"


class ApplicationLookupsError(ApplicationError):
    """One booth asks about more applications than visits could bring."""

    code = "application.lookups"
    status = 429
    retry = True
    title = "Too many applications are asked for"


class ApplicationUndecidableError(ServerError):
    """There is no portrait to decide on, or the decision has the wrong reason."""

    code = "application.undecidable"
    blame = "operator"
    status = 409
    title = "There is nothing to decide"


class StatusUnknownError(RequestError):
    """Nothing came for this status token, or it is none."""

    code = "status.unknown"
    status = 404
    title = "Nothing is known for this code"


class StatusAsksError(RequestError):
    """One network asks for the state of more visits than people do."""

    code = "status.too_many"
    status = 429
    retry = True
    title = "Too many questions from this address"
