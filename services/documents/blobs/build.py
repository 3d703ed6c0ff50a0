"""The store that the settings ask for."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from services.documents.blobs.local import LocalBlobs
from services.documents.blobs.port import BlobStore
from services.documents.blobs.sealed import Sealed
from services.kernel.config import ConfigError, Settings
from services.kernel.secrets import Keyring


def store_of(settings: Settings, keyring: Keyring) -> BlobStore:
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


def _bucket(settings: Settings, name: str, prefix: str) -> BlobStore:
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
