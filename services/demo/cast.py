"""The people of the stories: they register, follow the link in the mail, and sign in, as anybody would."""

import re

from services.demo.stage import Stage, Surprise

_PASSWORD = "a long walk by the sea"  # noqa: S105  # of people in a story
_TOKEN = re.compile(r"token=([A-Za-z0-9_-]+)")


def register(stage: Stage, who: str) -> None:
    """Register, without following the link."""
    body = {"email": stage.address(who), "password": _PASSWORD, "displayName": who}
    stage.rest("POST", "/v1/auth:register", body)


def verify(stage: Stage, who: str) -> None:
    """Follow the link in the newest mail."""
    stage.rest("POST", "/v1/auth:verifyEmail", {"token": token_in(stage.mail(stage.address(who)))})


def sign_in(stage: Stage, who: str) -> str:
    """Sign in: the access token."""
    body = {"email": stage.address(who), "password": _PASSWORD}
    return str(stage.rest("POST", "/v1/auth:signIn", body)["accessToken"])


def join(stage: Stage, who: str) -> str:
    """Somebody who registers, verifies and signs in: the access token."""
    register(stage, who)
    verify(stage, who)
    return sign_in(stage, who)


def token_in(text: str) -> str:
    """The token of the link in a mail. Raises Surprise where there is none."""
    match = _TOKEN.search(text)
    if match is None:
        raise Surprise("the mail holds no link")
    return match[1]
