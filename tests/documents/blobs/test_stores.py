"""What every store of blobs holds to, whatever is behind it."""

import hashlib
from collections.abc import Iterator
from datetime import timedelta
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.documents.blobs.port import BlobCorrupt, BlobMissing, BlobStore, Written, blob_key, check
from tests.documents.blobs.stores import is_there, new_key, text_of

# More than two parts of a bucket's upload, and no multiple of a segment.
LARGE = 17 * 1024 * 1024 + 3

ID = "0199aa00-0000-7000-8000-00000000000f"


class Interrupted(Exception):
    """The sender of the chunks went away."""


class TestWriting:
    @pytest.mark.parametrize("chunks", [[], [b""], [b"a", b"", b"bc"], [b"x" * 65536], [b"y" * 65537]])
    def test_what_was_written_is_read(self, store: BlobStore, chunks: list[bytes]) -> None:
        key, content = new_key(), b"".join(chunks)
        assert store.write(key, chunks) == Written(len(content), hashlib.sha256(content).hexdigest())
        assert text_of(store, key) == content

    def test_a_large_blob_comes_in_chunks_of_bounded_size(self, store: BlobStore) -> None:
        key, line = new_key(), bytes(range(256)) * 64
        content = (line * (LARGE // len(line) + 1))[:LARGE]
        written = store.write(key, (content[at : at + 100_000] for at in range(0, LARGE, 100_000)))
        read = list(store.read(key))
        assert written.size == LARGE
        assert max(map(len, read)) <= 256 * 1024
        assert hashlib.sha256(b"".join(read)).hexdigest() == written.sha256 == hashlib.sha256(content).hexdigest()

    def test_nobody_sees_a_blob_that_is_being_written(self, store: BlobStore) -> None:
        key = new_key()

        def chunks() -> Iterator[bytes]:
            yield b"first"
            assert not is_there(store, key)
            with pytest.raises(BlobMissing):
                next(store.read(key))
            yield b"second"

        store.write(key, chunks())
        assert is_there(store, key)

    @pytest.mark.parametrize("size", [10, 9 * 1024 * 1024])
    def test_a_write_that_breaks_off_leaves_what_was_there(self, store: BlobStore, size: int) -> None:
        old, new = new_key(), new_key()
        store.write(old, [b"as it was"])

        def chunks() -> Iterator[bytes]:
            yield b"z" * size
            raise Interrupted

        for key in (old, new):
            with pytest.raises(Interrupted):
                store.write(key, chunks())
        assert text_of(store, old) == b"as it was"
        assert not is_there(store, new)
        assert store.tidy(timedelta(0)) == 0


class TestReading:
    @given(st.binary(max_size=40), st.integers(0, 45), st.integers(0, 45) | st.none())
    @settings(max_examples=40)
    def test_any_range_is_a_slice(self, store: BlobStore, content: bytes, start: int, length: int | None) -> None:
        key, end = new_key(), None if length is None else start + length
        store.write(key, [content])
        if start > len(content):
            with pytest.raises(BlobCorrupt):
                list(store.read(key, start, end))
        else:
            assert b"".join(store.read(key, start, end)) == content[start:end]

    def test_a_reader_may_leave_early(self, store: BlobStore) -> None:
        key = new_key()
        store.write(key, [b"a" * 600_000])
        chunks = store.read(key)
        assert next(chunks)
        chunks.close()
        store.delete(key)
        assert not is_there(store, key)

    @pytest.mark.parametrize("span", [(0, None), (0, 0), (3, None), (3, 3), (100_000, 200_000)])
    def test_what_is_missing_is_said_to_be(self, store: BlobStore, span: tuple[int, int | None]) -> None:
        key = new_key()
        with pytest.raises(BlobMissing, match=key):
            list(store.read(key, *span))

    @pytest.mark.parametrize("span", [(-1, None), (2, 1)])
    def test_a_range_that_is_none_is_refused(self, store: BlobStore, span: tuple[int, int | None]) -> None:
        with pytest.raises(ValueError, match="range"):
            next(store.read(new_key(), *span))


class TestDeleting:
    def test_is_for_good_and_may_be_done_again(self, store: BlobStore) -> None:
        workspace = uuid4()
        key, other = blob_key(workspace, uuid4()), blob_key(workspace, uuid4())
        for each in (key, other):
            store.write(each, [b"text"])
        for _ in range(2):
            store.delete(key)
            assert not is_there(store, key)
        with pytest.raises(BlobMissing):
            next(store.read(key))
        assert text_of(store, other) == b"text"


class TestKeys:
    @pytest.mark.parametrize(
        "key",
        [
            "",
            "blob",
            "../../etc/passwd",
            f"{ID}/..",
            f"{ID}/{ID}/..",
            f"/{ID}/{ID}",
            f"{ID}/{ID}\n",
            f"{ID}/{ID.upper()}",
            f".partial/{ID}",
        ],
    )
    def test_no_key_leads_out_of_the_store(self, store: BlobStore, key: str) -> None:
        with pytest.raises(ValueError, match="key"):
            store.write(key, [b"text"])
        with pytest.raises(ValueError, match="key"):
            next(store.read(key))
        with pytest.raises(ValueError, match="key"):
            store.delete(key)


def test_the_start_tries_the_store_out(store: BlobStore) -> None:
    check(store)
