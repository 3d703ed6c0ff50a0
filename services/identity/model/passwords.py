"""Which passwords are accepted: long ones, whatever they are made of, but none that is guessed first.

NIST SP 800-63B §5.1.1.2: a minimum length, no rules of composition, and a list of what is refused.
"""

import re
import unicodedata

from services.identity.errors import PasswordRefused

MIN_LENGTH = 10
MAX_LENGTH = 256
_MIN_DISTINCT = 4

# What people add to a weak word to make it long enough.
_DECORATION = re.compile(r"[\W\d_]+")
_LEET = str.maketrans({"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "@": "a", "$": "s", "!": "i"})
# Rows of keyboards, the alphabet and the digits: a password that runs along one of them is guessed early.
_RUNS = (
    "abcdefghijklmnopqrstuvwxyz",
    "01234567890123456789",
    "qwertyuiopasdfghjklzxcvbnm",
    "qwertzuiopasdfghjklyxcvbnm",
    "azertyuiopqsdfghjklmwxcvbn",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p",
    "1q2w3e4r5t6y7u8i9o0p",
    "q1w2e3r4t5y6u7i8o9p0",
    "qazwsxedcrfvtgbyhnujmikolp",
    "zaqxswcdevfrbgtnhymjukilop",
)
# Words at the head of every list of leaked passwords, alone or repeated, with whatever digits and signs around them.
_COMMON_WORDS = frozenset(
    word
    for line in (
        "admin adminadmin administrator arsenal autumn azerty barcelona baseball basketball batman",
        "changeme charlie chelsea chocolate computer contrasena cookie daniel default dragon facebook football",
        "freedom google guest hello helloworld hunter ilovemyself iloveyou iloveyousomuch internet",
        "jennifer jessica jesuschrist jordan juventus killer letmein liverpool login lovely loveme",
        "manager manchester master matrix michael michelle minecraft monkey motdepasse mustang naruto",
        "nicole ninja nothing passpass passphrase passwd password passwordpassword passwords",
        "passwort pepper plinth pokemon princess qazwsx qwerty qwertyui qwertyuiop qwertz realmadrid samantha",
        "samsung secret senha server shadow soccer spring starwars summer sunshine superman",
        "superuser swordfish target test tester testing thomas thunder tigger trustno",
        "trustnoone unbelievable user username welcome whatever william winter zxcvbn zxcvbnm",
    )
    for word in line.split()
)


def normalized(password: str) -> str:
    """The password as it is hashed: NFKC, so that it can be typed on any keyboard (NIST SP 800-63B §5.1.1.2)."""
    return unicodedata.normalize("NFKC", password)


def check_password(password: str, *, email: str, field: str) -> None:
    """Let pass only what is hard to guess; `field` is blamed. Raises PasswordRefused."""
    plain = normalized(password).casefold()
    if len(plain) < MIN_LENGTH:
        raise PasswordRefused(field, "length", f"must have at least {MIN_LENGTH} characters")
    if _holds_address(plain, email.casefold()):
        raise PasswordRefused(field, "address", "must not contain your address")
    if len(set(plain)) < _MIN_DISTINCT or _is_repeated(plain) or _is_run(plain):
        raise PasswordRefused(field, "pattern", "must not be a sequence or a repetition")
    if _is_common(plain):
        raise PasswordRefused(field, "common", "is among the first that anyone would guess")


def _holds_address(plain: str, email: str) -> bool:
    """Whether it is the address, or the part before the @ with little but digits and signs around it."""
    local = email.partition("@")[0]
    if len(local) < _MIN_DISTINCT or local not in plain:
        return False
    return email in plain or len(_DECORATION.sub("", plain.replace(local, "", 1))) < _MIN_DISTINCT


def _is_repeated(plain: str) -> bool:
    """Whether it is one short piece over and over: found again inside itself, shifted."""
    period = (plain + plain).find(plain, 1)
    return period < len(plain) and period <= MIN_LENGTH // 2


def _is_run(plain: str) -> bool:
    return any(plain in run * 2 or plain[::-1] in run * 2 for run in _RUNS)


def _is_common(plain: str) -> bool:
    # As it stands and with leet undone; signs and digits around and between words are decoration either way.
    for text in (plain, plain.translate(_LEET)):
        if "".join(_DECORATION.split(text)) in _COMMON_WORDS:
            return True
    # `password!1` with leet undone ends in `ii`: the decoration goes first, then the leet.
    stripped = re.sub(r"^[\W\d_]+|[\W\d_]+$", "", plain).translate(_LEET)
    return stripped in _COMMON_WORDS
