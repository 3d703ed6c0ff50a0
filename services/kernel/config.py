"""Settings, from `PLINTH_*` variables of the environment. What is not valid stops the start, by name."""

from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, ValidationError, field_validator
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
