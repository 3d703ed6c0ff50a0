"""A bucket of blobs: parts, broken connections, prefixes, and errors that say enough and not too much."""

import hashlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from services.documents.blobs.port import BlobCorrupt, BlobStoreUnavailable, check
from services.documents.blobs.s3 import PART_BYTES, Bucket, S3Blobs
from tests.documents.blobs.stores import SECRET, bucket_at, client_of, is_there, new_key, text_of
from tests.support.line import Line, line_to

# What moto says of every upload is that it began in 2010.
SINCE_2010 = timedelta(days=365 * 30)


@pytest.fixture
def client(moto_address: str) -> Any:
    """What looks at the bucket from outside."""
    return client_of(moto_address)


@pytest.fixture
def line(moto_address: str) -> Iterator[Line]:
    with line_to(moto_address) as line:
        yield line


def uploads(client: Any, prefix: str) -> list[Any]:
    return list(client.list_multipart_uploads(Bucket="blobs", Prefix=prefix).get("Uploads", []))


class TestPrefix:
    @pytest.mark.parametrize(("prefix", "before"), [("", ""), ("/docs/eu/", "docs/eu/"), ("docs", "docs/")])
    def test_blobs_lie_below_it(self, client: Any, moto_address: str, prefix: str, before: str) -> None:
        key = new_key()
        S3Blobs(bucket_at(moto_address, prefix)).write(key, [b"text"])
        assert client.get_object(Bucket="blobs", Key=before + key)["Body"].read() == b"text"

    def test_what_lies_elsewhere_is_not_tidied_away(self, client: Any, moto_address: str) -> None:
        mine, theirs = str(uuid4()), str(uuid4())
        for prefix in (mine, theirs):
            client.create_multipart_upload(Bucket="blobs", Key=f"{prefix}/{new_key()}")
        store = S3Blobs(bucket_at(moto_address, mine))
        assert store.tidy(SINCE_2010) == 0
        assert store.tidy(timedelta(hours=1)) == 1
        assert store.tidy(timedelta(hours=1)) == 0
        assert len(uploads(client, theirs)) == 1


class TestParts:
    @pytest.mark.parametrize("size", [PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES])
    def test_any_number_of_them_makes_a_whole(self, client: Any, moto_address: str, size: int) -> None:
        prefix, key, content = str(uuid4()), new_key(), b"p" * size
        store = S3Blobs(bucket_at(moto_address, prefix))
        store.write(key, [content])
        assert hashlib.sha256(text_of(store, key)).digest() == hashlib.sha256(content).digest()
        assert uploads(client, prefix) == []

    def test_an_upload_that_the_bucket_has_given_up_fails_as_one_to_be_repeated(
        self, client: Any, moto_address: str
    ) -> None:
        prefix, key = str(uuid4()), new_key()
        store = S3Blobs(bucket_at(moto_address, prefix))

        def chunks() -> Iterator[bytes]:
            yield b"q" * (PART_BYTES + 1)
            yield b"q" * PART_BYTES
            assert store.tidy(timedelta(hours=1)) == 1
            yield b"q" * PART_BYTES

        with pytest.raises(BlobStoreUnavailable, match=key):
            store.write(key, chunks())
        assert not is_there(store, key)


class TestConnection:
    def test_a_read_that_breaks_off_goes_on_where_it_was(self, line: Line) -> None:
        store, key = S3Blobs(bucket_at(line.address)), new_key()
        content = b"".join(number.to_bytes(4, "big") for number in range(6_000_000))
        store.write(key, [content])
        chunks = store.read(key, 7, len(content) - 5)
        read = [next(chunks)]
        line.cut()
        line.mend()
        read += chunks
        assert hashlib.sha256(b"".join(read)).digest() == hashlib.sha256(content[7:-5]).digest()

    def test_a_server_that_is_away_is_told_from_a_blob_that_is(self, line: Line) -> None:
        store, key = S3Blobs(bucket_at(line.address)), new_key()
        line.cut()
        with pytest.raises(BlobStoreUnavailable, match=key):
            next(store.read(key))

    def test_a_write_goes_through_once_the_server_is_back(self, line: Line) -> None:
        store, key = S3Blobs(bucket_at(line.address)), new_key()

        def chunks() -> Iterator[bytes]:
            yield b"r" * (PART_BYTES + 1)
            line.cut()
            line.mend()
            yield b"r" * PART_BYTES

        assert store.write(key, chunks()).size == 2 * PART_BYTES + 1
        assert sum(map(len, store.read(key))) == 2 * PART_BYTES + 1


class TestErrors:
    def test_a_bucket_that_is_not_there_stops_the_start(self, moto_address: str) -> None:
        with pytest.raises(BlobStoreUnavailable, match="NoSuchBucket"):
            check(S3Blobs(bucket_at(moto_address, name="elsewhere")))

    def test_what_is_damaged_in_the_bucket_is_found_on_the_way(self, client: Any, moto_address: str) -> None:
        store, key = S3Blobs(bucket_at(moto_address)), new_key()
        store.write(key, [b"text"])
        said = client.get_object(Bucket="blobs", Key=key, ChecksumMode="ENABLED")["ChecksumSHA256"]
        client.put_object(Bucket="blobs", Key=key, Body=b"Text", ChecksumAlgorithm="SHA256", ChecksumSHA256=said)
        with pytest.raises(BlobCorrupt, match=key):
            text_of(store, key)

    def test_no_secret_is_shown(self) -> None:
        assert SECRET not in repr(bucket_at("127.0.0.1:9"))
        assert SECRET not in repr(S3Blobs(Bucket("b", region="us-east-1", access_key="a", secret_key=SECRET)))
