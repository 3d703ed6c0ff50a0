"""Secrets at rest and tokens in hand: envelope encryption with key rotation, key derivation, random tokens.

Each value has a data key of its own, wrapped by a master key (AES-256-GCM, NIST SP 800-38D), so that rotation rewraps
32 bytes and never the value. The context (what the value is, and whose) is authenticated with it: a ciphertext that is
moved to another row does not open.
"""

import base64
import contextlib
import hashlib
import os
import secrets
import struct
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from services.kernel.config import ConfigError

_VERSION = 1
_KEY_BYTES = 32
_NONCE_BYTES = 12
_WRAPPED_BYTES = _NONCE_BYTES + _KEY_BYTES + 16


class DecryptionError(Exception):
    """The ciphertext is damaged, belongs to another context, or its master key is gone."""


@dataclass(frozen=True, slots=True, repr=False)
class MasterKey:
    """A master key: its public id, and 32 secret bytes."""

    id: str
    secret: bytes


class Keyring:
    """The master keys: the first encrypts, every one decrypts."""

    def __init__(self, keys: Sequence[MasterKey]) -> None:
        if not keys:
            raise ConfigError("PLINTH_MASTER_KEYS: at least one key is needed")
        self._primary = keys[0]
        self._keys = {key.id: key for key in keys}
        if len(self._keys) < len(keys):
            raise ConfigError("PLINTH_MASTER_KEYS: two keys have the same id")

    @classmethod
    def parse(cls, text: str) -> "Keyring":
        """Read `id:base64,id:base64`. Raises ConfigError, which never shows the text."""
        keys = []
        for item in filter(None, (part.strip() for part in text.split(","))):
            key_id, _, encoded = item.partition(":")
            try:
                secret = base64.b64decode(encoded, validate=True)
            except ValueError:
                secret = b""
            if not key_id or len(key_id) > 32 or not key_id.isascii() or len(secret) != _KEY_BYTES:
                raise ConfigError("PLINTH_MASTER_KEYS: each key is id:base64 of 32 bytes, comma-separated")
            keys.append(MasterKey(key_id, secret))
        return cls(keys)

    @classmethod
    def from_file(cls, path: Path) -> "Keyring":
        """Read the key file, or make it (mode 0600) with a new key."""
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            key = f"k1:{base64.b64encode(os.urandom(_KEY_BYTES)).decode()}"
            # Complete, on disk and private (mode 0600) before it has its name; whoever links first has made the key.
            with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.") as partial:
                partial.write(key)
                partial.flush()
                os.fsync(partial.fileno())
                with contextlib.suppress(FileExistsError):
                    os.link(partial.name, path)
        return cls.parse(path.read_text())

    def encrypt(self, plaintext: bytes, *, context: str) -> bytes:
        """Encrypt for this context, e.g. `identity.signing_keys/0199…`."""
        data_key = AESGCM.generate_key(256)
        return self._wrap(data_key, context) + _seal(data_key, plaintext, context.encode())

    def decrypt(self, ciphertext: bytes, *, context: str) -> bytes:
        """Decrypt what `encrypt` made for the same context. Raises DecryptionError."""
        data_key, sealed = self._unwrap(ciphertext, context)
        try:
            return _open(data_key, sealed, context.encode())
        except (ValueError, InvalidTag):
            raise DecryptionError("the value cannot be decrypted") from None

    @property
    def rotating(self) -> bool:
        """Whether there is a former master key, under which something may still be sealed."""
        return len(self._keys) > 1

    @property
    def mark(self) -> bytes:
        """What every ciphertext under the current master key begins with, and none under another."""
        key_id = self._primary.id.encode()
        return struct.pack("BB", _VERSION, len(key_id)) + key_id

    def rewrap(self, ciphertext: bytes, *, context: str) -> bytes:
        """The same value under the current master key; the value itself stays sealed. Raises DecryptionError."""
        data_key, sealed = self._unwrap(ciphertext, context)
        return self._wrap(data_key, context) + sealed

    def _wrap(self, data_key: bytes, context: str) -> bytes:
        return self.mark + _seal(self._primary.secret, data_key, context.encode())

    def _unwrap(self, ciphertext: bytes, context: str) -> tuple[bytes, bytes]:
        """The data key, and the value that is sealed with it."""
        try:
            version, length = struct.unpack_from("BB", ciphertext)
            if version != _VERSION:
                raise DecryptionError(f"unknown version {version}")
            key = self._keys[ciphertext[2 : 2 + length].decode()]
            body = ciphertext[2 + length :]
            return _open(key.secret, body[:_WRAPPED_BYTES], context.encode()), body[_WRAPPED_BYTES:]
        except (struct.error, KeyError, ValueError, InvalidTag):
            raise DecryptionError("the value cannot be decrypted") from None

    def derive(self, purpose: str) -> bytes:
        """32 bytes for one purpose, from the current master key (HKDF, RFC 5869)."""
        return _derived(self._primary, purpose)

    def derive_all(self, purpose: str) -> list[bytes]:
        """The same for every master key, the current one first: what to check with while keys rotate."""
        return [_derived(key, purpose) for key in self._keys.values()]


def _derived(key: MasterKey, purpose: str) -> bytes:
    return HKDF(SHA256(), _KEY_BYTES, salt=None, info=purpose.encode()).derive(key.secret)


def _seal(key: bytes, plaintext: bytes, bound: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plaintext, bound)


def _open(key: bytes, sealed: bytes, bound: bytes) -> bytes:
    return AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound)


def new_token(prefix: str = "") -> str:
    """A random token of 256 bits, URL-safe."""
    return prefix + secrets.token_urlsafe(32)


def hash_token(token: str) -> bytes:
    """What is stored of a token: SHA-256 is enough for 256 random bits, and can be looked up."""
    return hashlib.sha256(token.encode()).digest()
