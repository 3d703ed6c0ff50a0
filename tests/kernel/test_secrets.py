"""Encryption at rest, key rotation, the key file, and tokens."""

import base64
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.config import ConfigError
from services.kernel.secrets import DecryptionError, Keyring, MasterKey, hash_token, new_token
from tests.support.acting import at_once

OLD, NEW = MasterKey("2025", b"o" * 32), MasterKey("2026", b"n" * 32)
KEY = base64.b64encode(b"k" * 32).decode()


class TestEncryption:
    @given(st.binary(), st.text())
    def test_comes_back_in_the_same_context(self, plaintext: bytes, context: str) -> None:
        ring = Keyring([NEW])
        assert ring.decrypt(ring.encrypt(plaintext, context=context), context=context) == plaintext

    @given(st.binary())
    def test_does_not_open_in_another_row(self, plaintext: bytes) -> None:
        ring = Keyring([NEW])
        with pytest.raises(DecryptionError):
            ring.decrypt(ring.encrypt(plaintext, context="mail/1"), context="mail/2")

    @given(st.data())
    def test_no_bit_can_be_changed(self, data: st.DataObject) -> None:
        ring = Keyring([NEW])
        sealed = bytearray(ring.encrypt(b"plain", context="c"))
        bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
        sealed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DecryptionError):
            ring.decrypt(bytes(sealed), context="c")

    @given(st.binary(max_size=200))
    def test_rubbish_is_refused_as_such(self, rubbish: bytes) -> None:
        with pytest.raises(DecryptionError):
            Keyring([NEW]).decrypt(rubbish, context="c")

    def test_never_looks_the_same_twice_and_never_shows_the_text(self) -> None:
        ring = Keyring([NEW])
        first, second = (ring.encrypt(b"the same text", context="c") for _ in range(2))
        assert first != second
        assert b"same" not in first


class TestRotation:
    def test_the_old_key_still_opens_and_the_new_one_seals(self) -> None:
        sealed = Keyring([OLD]).encrypt(b"plain", context="c")
        both = Keyring([NEW, OLD])
        assert both.decrypt(sealed, context="c") == b"plain"
        assert Keyring([NEW]).decrypt(both.encrypt(b"new", context="c"), context="c") == b"new"

    def test_lasts_for_as_long_as_there_is_a_former_key(self) -> None:
        old, new = MasterKey("old", b"o" * 32), MasterKey("new", b"n" * 32)
        assert [Keyring(keys).rotating for keys in ([old], [new, old], [new])] == [False, True, False]

    def test_without_its_key_nothing_opens(self) -> None:
        with pytest.raises(DecryptionError):
            Keyring([NEW]).decrypt(Keyring([OLD]).encrypt(b"plain", context="c"), context="c")

    def test_rewrapped_it_needs_the_old_key_no_longer_and_stays_sealed_as_it_was(self) -> None:
        sealed = Keyring([OLD]).encrypt(b"plain" * 100, context="c")
        rewrapped = Keyring([NEW, OLD]).rewrap(sealed, context="c")
        assert Keyring([NEW]).decrypt(rewrapped, context="c") == b"plain" * 100
        assert rewrapped[-500:] == sealed[-500:]
        with pytest.raises(DecryptionError):
            Keyring([NEW]).decrypt(rewrapped, context="another")

    def test_derived_keys_differ_by_purpose_and_master_key(self) -> None:
        both = Keyring([NEW, OLD])
        assert both.derive("a") == Keyring([NEW]).derive("a") != both.derive("b")
        assert both.derive_all("a") == [Keyring([NEW]).derive("a"), Keyring([OLD]).derive("a")]


class TestMasterKeys:
    @pytest.mark.parametrize(
        "text",
        [
            "",
            "k1",
            "k1:",
            f":{KEY}",
            "k1:c2hvcnQ=",
            "k1:not base64 at all",
            "k1:ключ",
            f"{'x' * 33}:{KEY}",
            f"ключ:{KEY}",
            f"k1:{KEY},k1:{KEY}",
        ],
    )
    def test_what_is_no_key_stops_the_start_and_is_not_shown(self, text: str) -> None:
        with pytest.raises(ConfigError) as raised:
            Keyring.parse(text)
        assert "PLINTH_MASTER_KEYS" in str(raised.value)
        assert KEY not in str(raised.value)

    def test_several_are_read_in_order(self) -> None:
        other = base64.b64encode(b"j" * 32).decode()
        ring = Keyring.parse(f" k2:{KEY} , k1:{other},")
        assert ring.derive("p") == Keyring([MasterKey("k2", b"k" * 32)]).derive("p")
        assert len(ring.derive_all("p")) == 2

    def test_does_not_show_itself(self) -> None:
        assert "kkkk" not in repr(MasterKey("k1", b"k" * 32))


class TestKeyFile:
    def test_is_made_private_and_kept(self, tmp_path: Path) -> None:
        path = tmp_path / "deep" / "master.key"
        mask = os.umask(0)
        try:
            sealed = Keyring.from_file(path).encrypt(b"plain", context="c")
        finally:
            os.umask(mask)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert Keyring.from_file(path).decrypt(sealed, context="c") == b"plain"
        assert [file.name for file in path.parent.iterdir()] == ["master.key"]

    def test_all_who_make_it_at_once_get_the_same_key(self, tmp_path: Path) -> None:
        rings = at_once(16, lambda: Keyring.from_file(tmp_path / "master.key"))
        assert len({ring.derive("p") for ring in rings}) == 1
        assert [file.name for file in tmp_path.iterdir()] == ["master.key"]

    def test_a_damaged_one_is_never_replaced(self, tmp_path: Path) -> None:
        path = tmp_path / "master.key"
        path.write_text("k1:damaged")
        with pytest.raises(ConfigError):
            Keyring.from_file(path)
        assert path.read_text() == "k1:damaged"


class TestTokens:
    def test_hold_256_bits_and_their_prefix(self) -> None:
        tokens = {new_token("plk_") for _ in range(100)}
        assert len(tokens) == 100
        assert all(len(base64.urlsafe_b64decode(token.removeprefix("plk_") + "=")) == 32 for token in tokens)

    def test_are_stored_as_their_hash(self) -> None:
        assert hash_token("a") == hash_token("a") != hash_token("b")
        assert len(hash_token("a")) == 32
