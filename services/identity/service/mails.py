"""The mails of identity. Each says what was asked for, and what to do if it was not the reader who asked.

Whoever has not proven an address does not get words of their own into a mail to it: no display name, or we would send
anybody's advertisement to anybody.
"""

from services.identity.model.users import User
from services.kernel.mail import Mail


class Mails:
    """Writes mails with links to `public_url`."""

    def __init__(self, public_url: str) -> None:
        self._base = public_url.rstrip("/")

    def verify(self, user: User, token: str) -> Mail:
        """After a registration."""
        return Mail(
            user.email,
            "Confirm your address",
            "Hello,\n\n"
            "confirm that this address is yours, within 24 hours:\n\n"
            f"{self._base}/verify?token={token}\n\n"
            "If you did not register, do not follow the link, and nothing will happen.\n",
            "verify_email",
        )

    def verify_repeated(self, email: str, source: str, token: str) -> Mail:
        """After another registration for an address that is not proven yet."""
        return Mail(
            email,
            "Confirm your address",
            "Hello,\n\n"
            "this address was registered once more, with a password of its own"
            f"{f' (from {source})' if source else ''}. Confirm that it was you, within 24 hours:\n\n"
            f"{self._base}/verify?token={token}\n\n"
            "The link makes the password of this registration the one that counts. If you registered only once and\n"
            "have had a mail like this before, use the link in that one. If you did not register, follow neither.\n",
            "verify_email",
        )

    def already_registered(self, user: User) -> Mail:
        """After a registration for an address that has a user."""
        return Mail(
            user.email,
            "You have an account already",
            f"{_greeting(user)}\n\n"
            "somebody tried to register with this address, which has an account. If it was you, sign in:\n\n"
            f"{self._base}/sign-in\n\n"
            "If you forgot the password, ask for a new one there. If it was not you, there is nothing to do.\n",
            "already_registered",
        )

    def reset_password(self, user: User, token: str) -> Mail:
        """After a request for a new password."""
        return Mail(
            user.email,
            "Set a new password",
            f"{_greeting(user)}\n\n"
            "set a new password, within one hour:\n\n"
            f"{self._base}/reset-password?token={token}\n\n"
            "It ends every session of your account. If you did not ask for this, ignore this mail.\n",
            "reset_password",
        )

    def settle_registration(self, user: User, token: str) -> Mail:
        """Instead of a new confirmation link, where an address was registered more than once."""
        return Mail(
            user.email,
            "Confirm your address",
            "Hello,\n\n"
            "this address was registered more than once, so that we cannot tell which password is yours. Set one, and\n"
            "the account is yours, within one hour:\n\n"
            f"{self._base}/reset-password?token={token}\n\n"
            "If you did not register, ignore this mail.\n",
            "reset_password",
        )

    def password_changed(self, user: User) -> Mail:
        """After the password was changed or reset."""
        return Mail(
            user.email,
            "Your password was changed",
            f"{_greeting(user)}\n\n"
            "the password of your account was changed, and other sessions were ended. If it was not you, set a new\n"
            f"password at once:\n\n{self._base}/forgot-password\n",
            "password_changed",
        )

    def change_email(self, new_email: str, token: str) -> Mail:
        """To the address that a user wants to have."""
        return Mail(
            new_email,
            "Confirm your new address",
            "Hello,\n\n"
            "confirm that your account shall use this address, within one hour, where you are signed in:\n\n"
            f"{self._base}/change-email?token={token}\n\n"
            "If you did not ask for this, ignore this mail.\n",
            "change_email",
        )

    def change_email_notice(self, user: User, new_email: str) -> Mail:
        """To the address that a user has so far, when they want another."""
        return Mail(
            user.email,
            "Your address is about to change",
            f"{_greeting(user)}\n\n"
            f"somebody who knows your password asked to change the address of your account to {new_email}.\n"
            f"If it was not you, set a new password at once:\n\n{self._base}/forgot-password\n",
            "change_email_notice",
        )

    def email_changed(self, user: User, old_email: str) -> Mail:
        """To the address that a user had."""
        return Mail(
            old_email,
            "Your address was changed",
            f"{_greeting(user)}\n\nyour account uses {user.email} from now on.\n",
            "email_changed",
        )

    def account_deleted(self, user: User) -> Mail:
        """To the address of a user who is gone."""
        return Mail(
            user.email,
            "Your account was deleted",
            f"{_greeting(user)}\n\nyour account was deleted, with all that we knew of you. This is the last mail.\n",
            "account_deleted",
        )


def _greeting(user: User) -> str:
    return f"Hello {user.display_name}," if user.email_verified and user.display_name else "Hello,"
