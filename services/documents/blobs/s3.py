"""Blobs in a bucket of S3, or of what speaks its protocol."""

import base64
import hashlib
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, FlexibleChecksumError

from services.documents.blobs.port import (
    BlobCorrupt,
    BlobMissing,
    BlobStoreUnavailable,
    Written,
    checked_key,
    checked_range,
)
from services.documents.blobs.streams import Tally, pieces

# What is smaller goes in one request. A blob has at most 10,000 parts, so 80 GB.
PART_BYTES = 8 * 1024 * 1024

_CHUNK = 256 * 1024
# How often a read is taken up again where it broke off without having moved on in between.
_BARREN_READS = 3
_CONFIG = {
    "connect_timeout": 5,
    "read_timeout": 30,
    "retries": {"mode": "standard", "total_max_attempts": 3},
    "max_pool_connections": 32,
    # Each request carries its SHA-256 in a header; the trailers that are the default are unknown to older servers.
    "request_checksum_calculation": "when_required",
}


@dataclass(frozen=True, slots=True)
class Bucket:
    """Which bucket, where, and who asks. What is empty is found by boto's own chain: environment, profile, role."""

    name: str
    prefix: str = ""
    endpoint: str = ""
    region: str = ""
    access_key: str = ""
    secret_key: str = field(default="", repr=False)


class S3Blobs:
    """The objects `<prefix>/<workspace id>/<blob id>` of a bucket. May be used by many threads."""

    def __init__(self, bucket: Bucket) -> None:
        # The client has no types of its own: its methods are made from a description as it starts.
        self._client: Any = boto3.session.Session().client(
            "s3",
            endpoint_url=bucket.endpoint or None,
            region_name=bucket.region or None,
            aws_access_key_id=bucket.access_key or None,
            aws_secret_access_key=bucket.secret_key or None,
            config=Config(**_CONFIG),
        )
        self._bucket = bucket.name
        self._prefix = f"{bucket.prefix.strip('/')}/".lstrip("/")

    def write(self, key: str, chunks: Iterable[bytes]) -> Written:
        """See BlobStore. Holds a few parts of the blob in memory, of 8 MiB each."""
        target = self._target(key)
        tally = Tally()
        parts = pieces(tally.through(chunks), PART_BYTES)
        first, last = next(parts)
        if last:
            with _answering(key):
                self._client.put_object(
                    **target, Body=first, ChecksumAlgorithm="SHA256", ChecksumSHA256=_checksum(first)
                )
        else:
            self._write_parts(key, first, parts)
        return tally.written

    def read(self, key: str, start: int = 0, end: int | None = None) -> Generator[bytes]:
        """See BlobStore. A connection that breaks is taken up again where it broke."""
        target = self._target(key)
        checked_range(start, end)
        if end == 0:
            # Nothing cannot be asked for as a range.
            with _answering(key):
                self._client.head_object(**target)
            return
        at, barren = start, 0
        while True:
            try:
                for chunk in self._stream(key, target, at, end):
                    yield chunk
                    at, barren = at + len(chunk), 0
            except FlexibleChecksumError:
                raise BlobCorrupt(f"blob {key} is not what was written") from None
            except BotoCoreError as error:
                barren += 1
                if barren == _BARREN_READS:
                    raise BlobStoreUnavailable(f"blob {key}: {type(error).__name__}") from None
            else:
                return

    def delete(self, key: str) -> None:
        """See BlobStore. A bucket that keeps versions keeps them for as long as it is told to."""
        target = self._target(key)
        with _answering(key):
            self._client.delete_object(**target)

    def tidy(self, older_than: timedelta) -> int:
        """See BlobStore. Parts of uploads that were never completed are invisible, and paid for."""
        before = datetime.now(UTC) - older_than
        removed = 0
        with _answering(self._prefix):
            pages = self._client.get_paginator("list_multipart_uploads")
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix):
                for upload in page.get("Uploads", ()):
                    if upload["Initiated"] <= before:
                        self._abort({"Bucket": self._bucket, "Key": upload["Key"]}, upload["UploadId"])
                        removed += 1
        return removed

    def _target(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + checked_key(key)}

    def _write_parts(self, key: str, first: bytes, others: Iterable[tuple[bytes, bool]]) -> None:
        target = self._target(key)
        with _answering(key):
            upload = self._client.create_multipart_upload(**target, ChecksumAlgorithm="SHA256")["UploadId"]
        try:
            done = [self._write_part(key, upload, 1, first)]
            done.extend(self._write_part(key, upload, number, part) for number, (part, _) in enumerate(others, start=2))
            with _answering(key):
                self._client.complete_multipart_upload(**target, UploadId=upload, MultipartUpload={"Parts": done})
        except BaseException:
            with suppress(BotoCoreError, ClientError):
                self._abort(target, upload)
            raise

    def _write_part(self, key: str, upload: str, number: int, part: bytes) -> dict[str, str | int]:
        checksum = _checksum(part)
        with _answering(key):
            answer = self._client.upload_part(
                **self._target(key), UploadId=upload, PartNumber=number, Body=part, ChecksumSHA256=checksum
            )
        return {"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": checksum}

    def _abort(self, target: dict[str, str], upload: str) -> None:
        # Another process may tidy as well, and a lifecycle rule of the bucket.
        with suppress(self._client.exceptions.NoSuchUpload):
            self._client.abort_multipart_upload(**target, UploadId=upload)

    def _stream(self, key: str, target: dict[str, str], start: int, end: int | None) -> Iterator[bytes]:
        """The range, as far as the connection holds. Raises BotoCoreError where it does not."""
        # A range that begins where the object ends is refused, so ours begins with the byte before it.
        first = max(start - 1, 0)
        wanted = {} if start == 0 and end is None else {"Range": _range(first, end)}
        try:
            with _answering(key):
                body = self._client.get_object(**target, **wanted)["Body"]
        except _OutOfRange:
            if start == 0:
                return
            raise BlobCorrupt(f"blob {key} is shorter than it was") from None
        skip = start - first
        with closing(body):
            for chunk in body.iter_chunks(_CHUNK):
                if ours := chunk[skip:]:
                    yield ours
                skip = 0


def _range(first: int, end: int | None) -> str:
    return f"bytes={first}-" if end is None else f"bytes={first}-{end - 1}"


def _checksum(part: bytes) -> str:
    return base64.b64encode(hashlib.sha256(part).digest()).decode()


class _OutOfRange(Exception):
    """The object ends before the range."""


@contextmanager
def _answering(key: str) -> Iterator[None]:
    """Tell the client's errors in the port's words: a code, and never a message, which may show an access key."""
    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code in {"NoSuchKey", "404"}:
            raise BlobMissing(f"there is no blob {key}") from None
        if code == "InvalidRange":
            raise _OutOfRange from None
        raise BlobStoreUnavailable(f"blob {key}: the bucket answered {code}") from None
    except BotoCoreError as error:
        raise BlobStoreUnavailable(f"blob {key}: {type(error).__name__}") from None
