"""What goes wrong with the desk's users: their names, roles, passwords, authenticators."""

from __future__ import annotations

from server.errors import DeskError


class UserUnknownError(DeskError):
    """There is no user of this id."""

    code = "user.unknown"
    status = 404
    title = "There is no such user"


class UserNameError(DeskError):
    """A name has the wrong form."""

    code = "user.name"
    title = "This cannot be a user's name"


class UserTakenError(DeskError):
    """A user has this name already."""

    code = "user.taken"
    status = 409
    title = "A user has this name already"


class UserRolesError(DeskError):
    """A user needs a role, and only roles that there are."""

    code = "user.roles"
    title = "A user needs at least one of the roles"


class OwnUserError(DeskError):
    """Nobody changes his own roles, or locks himself out."""

    code = "user.own"
    status = 409
    title = "Nobody changes his own roles"


class LastAdministratorError(DeskError):
    """Without an administrator nobody could make one."""

    code = "user.last_administrator"
    status = 409
    title = "This is the last administrator"


class UserRowChangedError(DeskError):
    """A user's row was not written under the desk's secret: somebody changed the database, or it is another desk's."""

    code = "user.changed"
    status = 500
    title = "A user was changed outside of the desk"


class PasswordRefusedError(DeskError):
    """The new password is too short, too simple, or holds the name; `fault` says which."""

    code = "user.password"
    title = "This cannot be a password"

    def __init__(self, message: str, fault: str) -> None:
        super().__init__(message)
        self.fault = fault


class PasswordWrongError(DeskError):
    """The present password, asked for once more, is wrong."""

    code = "user.password_wrong"
    status = 403
    title = "The present password is wrong"


class AuthenticatorCodeError(DeskError):
    """The code of a new authenticator does not match, so the authenticator is not used."""

    code = "user.code"
    title = "The code does not match"


class PasswordCheckError(DeskError):
    """A password cannot be compared just now."""

    code = "login.unavailable"
    blame = "us"
    status = 503
    retry = True
    title = "The password cannot be compared just now"


class SetUpRequiredError(DeskError):
    """An own password and, where the desk asks for it, an authenticator come before everything else."""

    code = "login.set_up"
    status = 403
    title = "Set your own password and authenticator first"
