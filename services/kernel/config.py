"""Settings, from `PLINTH_*` variables of the environment. What is not valid stops the start, by name."""

from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

_POSTGRES_URL = "^(postgres(ql)?://.*)?$"


class ConfigError(Exception):
    """The configuration is not usable; the message names each bad variable."""


class Settings(BaseSettings):
    """Everything that can be set, with its default. Each field is read from `PLINTH_<FIELD>`."""

    model_config = SettingsConfigDict(env_prefix="PLINTH_", extra="ignore", hide_input_in_errors=True)

    database_url: str = Field(
        "", pattern=_POSTGRES_URL, description="PostgreSQL of the app's login; empty: the embedded one of `plinth up`"
    )
    migrate_database_url: str = Field(
        "", pattern=_POSTGRES_URL, description="The same database as its owner, for migrations"
    )
    data_dir: Path = Field(Path(".plinth"), description="Where `plinth up` keeps its database and keys")
    public_url: str = Field(
        "http://127.0.0.1:8080", pattern="^https?://[^/]", description="What links in mails start with"
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field((), description="Browser origins, comma-separated")

    master_keys: SecretStr = Field(
        SecretStr(""), description="id:base64 of 32 bytes, comma-separated; the first encrypts, all decrypt"
    )

    pool_size: int = Field(16, ge=1, le=500, description="Database connections of one process")
    threads: int = Field(24, ge=1, le=500, description="Calls at work at once in one process")
    max_queue_seconds: float = Field(1.0, gt=0, description="A call that waited longer for a thread is refused")
    drain_seconds: float = Field(10.0, ge=0, description="How long running calls and jobs may finish at a stop")
    peers: Annotated[dict[str, str], NoDecode] = Field(
        {}, description="Where the domains of other processes listen: domain=host:port, comma-separated"
    )
    max_message_bytes: int = Field(16 * 1024 * 1024, ge=1024)

    rate_standard: float = Field(200.0, gt=0, description="Calls per second and caller")
    rate_credentials: float = Field(10.0, gt=0, description="Calls per second and source address")
    rate_bulk: float = Field(5.0, gt=0, description="Calls per second and caller")
    rate_burst_seconds: float = Field(3.0, gt=0, description="Seconds' worth of calls that may come at once")

    access_token_ttl: timedelta = timedelta(minutes=10)
    refresh_token_ttl: timedelta = timedelta(days=30)
    refresh_grace: timedelta = Field(timedelta(seconds=30), description="How long a rotated refresh token still works")
    signing_key_ttl: timedelta = timedelta(days=30)
    argon2_memory_kib: int = Field(19 * 1024, ge=8)
    argon2_time: int = Field(2, ge=1)
    argon2_parallelism: int = Field(1, ge=1)

    worker_threads: int = Field(64, ge=1, description="Jobs that a worker runs at once; most wait for other servers")

    event_retention_days: int = Field(30, ge=1, le=3650, description="How long the event log keeps a day")
    event_days_ahead: int = Field(3, ge=1, le=30, description="For how many days ahead the log has room")

    smtp_url: SecretStr = Field(
        SecretStr(""), description="smtp://user:password@host:587; empty: keep for `plinth mail`"
    )
    mail_from: str = "Plinth <no-reply@localhost>"

    blob_url: str = Field(
        "",
        description="Where documents lie: file:///directory, s3://bucket/prefix; empty: `blobs` in the data directory",
    )
    blob_s3_endpoint: str = Field("", description="The address of a server that speaks S3's protocol; empty: Amazon's")
    blob_s3_region: str = Field("", description="The region of the bucket; empty: as boto finds it")
    blob_s3_access_key: str = Field("", description="Whose key; empty: as boto finds it")
    blob_s3_secret_key: SecretStr = Field(SecretStr(""), description="The secret of the access key")
    blob_encrypt: bool = Field(False, description="Whether documents are encrypted at rest, under the master keys")
    max_upload_bytes: int = Field(200 * 1024 * 1024, ge=1, description="The largest file")
    max_packed_upload_bytes: int = Field(
        50 * 1024 * 1024, ge=1, description="The largest archive or Office file, which unpacks to more"
    )
    max_documents: int = Field(100_000, ge=1, description="Documents of one workspace")
    max_document_versions: int = Field(1_000, ge=1, description="Versions of one document")
    max_stored_bytes: int = Field(
        100 * 1024 * 1024 * 1024,
        ge=1,
        description="What all versions of all documents of one workspace have together, with uploads under way",
    )
    ingest_parsers: int = Field(
        2, ge=1, le=256, description="Documents that a worker has in memory at once; to parse one takes a core"
    )
    ingest_at_once: int = Field(32, ge=1, description="Documents under way at once, over all workers")
    ingest_per_workspace: int = Field(4, ge=1, description="How many of these may be of one workspace")
    ingest_retry_seconds: float = Field(
        15.0, gt=0, description="The longest wait for the second attempt at a document; it doubles up to ten minutes"
    )

    search_cache_bytes: int = Field(
        256 * 1024 * 1024, ge=1024 * 1024, description="What a process keeps of indexes, in bytes"
    )
    search_model_bytes: int = Field(
        256 * 1024 * 1024,
        ge=1024 * 1024,
        description="What a process keeps of what it learnt from workspaces' words, in bytes; 35 MB are a large one",
    )
    search_graph_from: int = Field(
        20_000, ge=1, description="From how many passages on a workspace's nearest vectors are found by an HNSW graph"
    )

    search_most_graphs: int = Field(
        200, ge=0, description="How many of these graphs there are at most; each costs every publish and plan a little"
    )

    embedder_url: str = Field(
        "",
        pattern=r"^(https?://[^/@?#\s]+(/[^@?#\s]*)?)?$",
        description="What `/embeddings` comes after at a provider that speaks OpenAI's protocol; empty: there is none",
    )
    embedder_key: SecretStr = Field(SecretStr(""), description="The provider's key")
    embedder_model: str = Field(
        "", max_length=200, validate_default=True, description="The provider's name for the model"
    )
    embedder_dimensions: int = Field(
        0, ge=0, le=4000, validate_default=True, description="How many numbers a vector of the model has"
    )
    embedder_send_dimensions: bool = Field(False, description="Whether to ask the provider for so many")
    embedder_max_tokens: int = Field(8_000, ge=16, description="The longest text that the model takes; longer are cut")
    embedder_batch: int = Field(64, ge=1, le=2048, description="How many passages one request holds")
    embedder_requests_per_minute: int = Field(3_000, ge=1, description="How many requests one process makes")
    embedder_tokens_per_minute: int = Field(1_000_000, ge=1000, description="How many tokens they hold together")
    embedder_path: Path | None = Field(
        None, description="The folder of a sentence-transformers model; needs plinth[local]"
    )

    webhook_allow: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        (), description="Networks that webhooks may go to although they are not public, comma-separated: 10.1.0.0/16"
    )
    webhook_allow_http: bool = Field(False, description="Whether webhooks may go to http URLs")
    webhook_ports: Annotated[frozenset[int], NoDecode] = Field(
        frozenset(), description="The only ports that webhooks may go to, comma-separated; empty: any"
    )

    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    trace_ratio: float = Field(0.1, ge=0, le=1, description="Share of new traces that are recorded")
    otlp_endpoint: str = Field("", description="host:port of an OTLP/gRPC collector; empty: spans are not exported")

    @field_validator("cors_origins", "webhook_ports", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value

    @field_validator("embedder_key")
    @classmethod
    def _fit_for_a_header(cls, value: SecretStr) -> SecretStr:
        secret = value.get_secret_value()
        if not (secret.isascii() and (secret.isprintable() or not secret)) or " " in secret:
            raise ValueError("has characters that a key cannot have")
        return value

    @field_validator("embedder_model", "embedder_dimensions")
    @classmethod
    def _with_a_provider(cls, value: object, info: ValidationInfo) -> object:
        if info.data.get("embedder_url") and not value:
            raise ValueError("is needed with PLINTH_EMBEDDER_URL")
        return value

    @field_validator("embedder_path", mode="before")
    @classmethod
    def _folder(cls, value: object) -> object:
        if not value:
            return None
        if not Path(str(value)).is_dir():
            raise ValueError("must be a folder with a model")
        return value

    @field_validator("webhook_allow", mode="before")
    @classmethod
    def _networks(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return tuple(ip_network(item.strip()) for item in value.split(",") if item.strip())
        except ValueError:
            raise ValueError("must be networks such as 10.1.0.0/16, comma-separated") from None

    @field_validator("access_token_ttl", "refresh_token_ttl", "refresh_grace", "signing_key_ttl", mode="before")
    @classmethod
    def _seconds(cls, value: object) -> object:
        return float(value) if isinstance(value, str) and value.replace(".", "", 1).isdigit() else value

    @field_validator("peers", mode="before")
    @classmethod
    def _pairs(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = [item.strip().partition("=") for item in value.split(",") if item.strip()]
        if not all(domain and address for domain, _, address in pairs):
            raise ValueError("must be domain=host:port, comma-separated")
        return {domain: address for domain, _, address in pairs}


def load_settings(**overrides: object) -> Settings:
    """Read the environment. Raises ConfigError naming each variable that is not valid."""
    try:
        return Settings(**overrides)  # type: ignore[arg-type]  # pydantic validates what the signature cannot say
    except ValidationError as error:
        lines = [f"PLINTH_{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()]
        raise ConfigError("The configuration is not valid.\n" + "\n".join(lines)) from None
