"""Which passwords are accepted."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.identity.errors import PasswordRefused
from services.identity.model.passwords import MIN_LENGTH, check_password, normalized

EMAIL = "ada.lovelace@example.com"


def rule_of(password: str, email: str = EMAIL) -> str:
    with pytest.raises(PasswordRefused) as refused:
        check_password(password, email=email, field="password")
    assert [violation.field for violation in refused.value.violations] == ["password"]
    return refused.value.metadata["rule"]


class TestCheckPassword:
    @pytest.mark.parametrize(
        "password",
        [
            "correct horse battery",
            "tulip-engine-42",
            "8302749163052",
            "Größenwahn und Käse",
            "北京的冬天非常非常冷啊",
            "adalovelace writes engines",
            "x" * 3 + "yzq81-mn",
        ],
    )
    def test_a_long_password_of_whatever_characters_is_accepted(self, password: str) -> None:
        check_password(password, email=EMAIL, field="password")

    @pytest.mark.parametrize(
        "password",
        ["Password123!", "P@ssw0rd2024", "password!1", "qwertyuiop", "iloveyou1234", "!!welcome!!2025"],
    )
    def test_a_common_word_with_decoration_is_refused(self, password: str) -> None:
        assert rule_of(password) in ("common", "pattern")

    @pytest.mark.parametrize(
        "password",
        ["1234567890", "0987654321", "abcdefghijkl", "aaaaaaaaaaaa", "abcabcabcabc", "zyxwvutsrq", "1q2w3e4r5t"],
    )
    def test_a_sequence_or_repetition_is_refused(self, password: str) -> None:
        assert rule_of(password) == "pattern"

    @pytest.mark.parametrize("password", ["ada.lovelace@example.com", "ada.lovelace1815", "2024-Ada.Lovelace!"])
    def test_the_address_is_refused(self, password: str) -> None:
        assert rule_of(password) == "address"

    def test_a_short_password_is_refused(self) -> None:
        assert rule_of("tulip-42x") == "length"

    @given(st.text(min_size=1, max_size=MIN_LENGTH - 1))
    def test_nothing_short_is_ever_accepted(self, password: str) -> None:
        if len(normalized(password).casefold()) < MIN_LENGTH:
            assert rule_of(password) == "length"

    @given(st.text(max_size=300), st.emails())
    def test_any_text_is_judged_without_failing(self, password: str, email: str) -> None:
        with suppress(PasswordRefused):
            check_password(password, email=email, field="new_password")


class TestNormalized:
    def test_the_same_letters_typed_on_different_keyboards_are_the_same_password(self) -> None:
        assert normalized("Käse") == normalized("Ka\u0308se")
