"""Encryption at rest: nothing readable lies there, nothing can be changed unseen, and master keys rotate."""

import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.documents.blobs.local import LocalBlobs
from services.documents.blobs.port import BlobCorrupt
from services.documents.blobs.sealed import Sealed
from services.kernel.secrets import Keyring, MasterKey
from tests.documents.blobs.stores import KEYRING, new_key, text_of

OLD, NEW = MasterKey("2025", b"o" * 32), MasterKey("2026", b"n" * 32)
HEADER = 256
SEGMENT = 16
SEALED_SEGMENT = SEGMENT + 16
# Sizes and offsets, where segments meet more often than chance would have it.
PLACES = st.integers(0, 100) | st.integers(0, 6).map(SEGMENT.__mul__)


@pytest.fixture(scope="module")
def inner(tmp_path_factory: pytest.TempPathFactory) -> LocalBlobs:
    return LocalBlobs(tmp_path_factory.mktemp("blobs"))


@pytest.fixture(scope="module")
def sealed(inner: LocalBlobs) -> Sealed:
    """With segments so small that a short text has several."""
    return Sealed(inner, KEYRING, SEGMENT)


class TestRanges:
    @given(PLACES, st.integers(1, 40), PLACES, PLACES | st.none())
    @settings(max_examples=200)
    def test_any_range_over_segments_is_a_slice(
        self, sealed: Sealed, size: int, chunk: int, start: int, length: int | None
    ) -> None:
        key, content, end = new_key(), bytes(range(size)), None if length is None else start + length
        sealed.write(key, [content[at : at + chunk] for at in range(0, size, chunk)])
        if start > size:
            with pytest.raises(BlobCorrupt):
                list(sealed.read(key, start, end))
        else:
            assert b"".join(sealed.read(key, start, end)) == content[start:end]

    def test_only_the_segments_of_the_range_are_read(self, inner: LocalBlobs, sealed: Sealed) -> None:
        key = new_key()
        sealed.write(key, [bytes(range(5 * SEGMENT))])
        ciphertext = bytearray(text_of(inner, key))
        for number in (0, 1, 4):
            ciphertext[HEADER + number * SEALED_SEGMENT] ^= 1
        inner.write(key, [bytes(ciphertext)])
        assert b"".join(sealed.read(key, 2 * SEGMENT + 1, 4 * SEGMENT)) == bytes(range(2 * SEGMENT + 1, 4 * SEGMENT))
        for start, end in ((0, 1), (SEGMENT, 2 * SEGMENT), (4 * SEGMENT, None)):
            with pytest.raises(BlobCorrupt):
                list(sealed.read(key, start, end))

    def test_a_large_blob_passes_through_little_memory(self, inner: LocalBlobs) -> None:
        store, key = Sealed(inner, KEYRING), new_key()
        tracemalloc.start()
        try:
            store.write(key, (b"m" * 100_000 for _ in range(160)))
            assert sum(map(len, store.read(key))) == 16_000_000
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 2_000_000


class TestTampering:
    @given(st.binary(max_size=60), st.data())
    @settings(max_examples=150)
    def test_no_bit_can_be_changed(
        self, inner: LocalBlobs, sealed: Sealed, content: bytes, data: st.DataObject
    ) -> None:
        key = new_key()
        sealed.write(key, [content])
        ciphertext = bytearray(text_of(inner, key))
        bit = data.draw(st.integers(0, len(ciphertext) * 8 - 1))
        ciphertext[bit // 8] ^= 1 << bit % 8
        inner.write(key, [bytes(ciphertext)])
        with pytest.raises(BlobCorrupt, match=key):
            text_of(sealed, key)

    @given(st.binary(max_size=60), st.data())
    def test_nothing_can_be_cut_off(
        self, inner: LocalBlobs, sealed: Sealed, content: bytes, data: st.DataObject
    ) -> None:
        key = new_key()
        sealed.write(key, [content])
        ciphertext = text_of(inner, key)
        boundaries = list(range(HEADER, len(ciphertext), SEALED_SEGMENT))
        length = data.draw(st.integers(0, len(ciphertext) - 1) | st.sampled_from(boundaries))
        inner.write(key, [ciphertext[:length]])
        with pytest.raises(BlobCorrupt):
            text_of(sealed, key)
        # Also where only the lost part was asked for.
        with pytest.raises(BlobCorrupt):
            list(sealed.read(key, len(content)))

    @pytest.mark.parametrize("order", [(1, 0, 2), (0, 0, 2), (0, 2), (0, 1, 2, 2), (0, 1, 2, 1), (0, 1, 1)])
    def test_segments_cannot_be_exchanged_left_out_or_repeated(
        self, inner: LocalBlobs, sealed: Sealed, order: tuple[int, ...]
    ) -> None:
        key = new_key()
        sealed.write(key, [b"s" * 3 * SEGMENT])
        ciphertext = text_of(inner, key)
        segments = [ciphertext[at : at + SEALED_SEGMENT] for at in range(HEADER, len(ciphertext), SEALED_SEGMENT)]
        inner.write(key, [ciphertext[:HEADER], *(segments[number] for number in order)])
        with pytest.raises(BlobCorrupt):
            text_of(sealed, key)

    def test_no_blob_passes_for_another(self, inner: LocalBlobs, sealed: Sealed) -> None:
        mine, theirs = new_key(), new_key()
        sealed.write(theirs, [b"their text"])
        inner.write(mine, inner.read(theirs))
        with pytest.raises(BlobCorrupt):
            text_of(sealed, mine)

    def test_what_was_never_sealed_is_not_taken_for_it(self, inner: LocalBlobs, sealed: Sealed) -> None:
        key = new_key()
        inner.write(key, [b"plain" * 100])
        with pytest.raises(BlobCorrupt, match="not sealed"):
            text_of(sealed, key)
        with pytest.raises(BlobCorrupt):
            sealed.is_current(key)

    def test_nothing_of_the_text_is_seen_and_nothing_looks_the_same_twice(self, tmp_path: Path) -> None:
        store, key = Sealed(LocalBlobs(tmp_path), KEYRING), new_key()
        seen = []
        for _ in range(2):
            store.write(key, [b"the same text" * 10])
            seen.append((tmp_path / key).read_bytes())
        assert seen[0][HEADER:] != seen[1][HEADER:]
        assert b"same" not in seen[0] + seen[1]


class TestRotation:
    def test_blobs_of_a_former_key_are_read_and_told_from_others(self, inner: LocalBlobs) -> None:
        former, current, content = new_key(), new_key(), b"x" * 200_000
        Sealed(inner, Keyring([OLD])).write(former, [content])
        both = Sealed(inner, Keyring([NEW, OLD]))
        both.write(current, both.read(former))
        assert (both.is_current(former), both.is_current(current)) == (False, True)
        assert text_of(both, former) == content
        assert text_of(Sealed(inner, Keyring([NEW])), current) == content

    def test_without_its_master_key_a_blob_stays_shut(self, inner: LocalBlobs) -> None:
        key = new_key()
        Sealed(inner, Keyring([OLD])).write(key, [b"text"])
        new = Sealed(inner, Keyring([NEW]))
        with pytest.raises(BlobCorrupt):
            text_of(new, key)
        assert not new.is_current(key)

    def test_any_name_of_a_master_key_fits_into_the_header(self, inner: LocalBlobs) -> None:
        store, key = Sealed(inner, Keyring([MasterKey("k" * 32, b"n" * 32)])), new_key()
        store.write(key, [b"text"])
        assert text_of(store, key) == b"text"
        assert len(text_of(inner, key)) == HEADER + len(b"text") + 16
