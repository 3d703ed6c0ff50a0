"""The store that the settings ask for."""

from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from services.documents.blobs.local import LocalBlobs
from services.documents.blobs.port import BlobStore
from services.documents.blobs.sealed import Sealed
from services.kernel.config import ConfigError
from services.kernel.secrets import Keyring


class BlobSettings(Protocol):
    """What is set about blobs; `Settings` has it."""

    @property
    def data_dir(self) -> Path:
        """Where the blobs lie, in `blobs`, when nothing else is said."""

    @property
    def blob_url(self) -> str:
        """`file:///directory`, `s3://bucket/prefix`, or empty."""

    @property
    def blob_s3_endpoint(self) -> str:
        """The address of a server that speaks S3's protocol; empty: Amazon's."""

    @property
    def blob_s3_region(self) -> str:
        """The region of the bucket; empty: boto's own settings."""

    @property
    def blob_s3_access_key(self) -> str:
        """Whose key; empty: boto's own chain."""

    @property
    def blob_s3_secret_key(self) -> SecretStr:
        """The secret of the access key."""

    @property
    def blob_encrypt(self) -> bool:
        """Whether blobs are encrypted at rest."""


def store_of(settings: BlobSettings, keyring: Keyring) -> BlobStore:
    """The store, unopened; see `check`. Raises ConfigError."""
    url = urlsplit(settings.blob_url)
    store: BlobStore
    if not settings.blob_url:
        store = LocalBlobs(settings.data_dir / "blobs")
    elif url.scheme == "file" and not url.netloc and len(url.path) > 1:
        store = LocalBlobs(Path(unquote(url.path)))
    elif url.scheme == "s3" and url.netloc:
        store = _bucket(settings, url.netloc, url.path)
    else:
        raise ConfigError("PLINTH_BLOB_URL: must be file:///directory, s3://bucket/prefix or empty")
    return Sealed(store, keyring) if settings.blob_encrypt else store


def _bucket(settings: BlobSettings, name: str, prefix: str) -> BlobStore:
    # Its client takes longer to load than the rest of a command of `plinth`.
    from services.documents.blobs.s3 import Bucket, S3Blobs

    secret_key = settings.blob_s3_secret_key.get_secret_value()
    if bool(settings.blob_s3_access_key) != bool(secret_key):
        raise ConfigError("PLINTH_BLOB_S3_ACCESS_KEY, PLINTH_BLOB_S3_SECRET_KEY: set both or neither")
    return S3Blobs(
        Bucket(
            name,
            prefix,
            endpoint=settings.blob_s3_endpoint,
            region=settings.blob_s3_region,
            access_key=settings.blob_s3_access_key,
            secret_key=secret_key,
        )
    )
