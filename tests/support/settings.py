"""Settings for servers under test."""

import base64
from datetime import timedelta
from pathlib import Path

from pydantic import SecretStr

from services.kernel.config import Settings

# Every process of a test's mesh shares it; it protects nothing.
MASTER_KEYS = "test:" + base64.b64encode(bytes(range(32))).decode()
# The same for processes of a mesh, which read their environment.
ENVIRONMENT = {
    "PLINTH_MASTER_KEYS": MASTER_KEYS,
    "PLINTH_ARGON2_MEMORY_KIB": "8",
    "PLINTH_ARGON2_TIME": "1",
    "PLINTH_RATE_STANDARD": "100000",
    "PLINTH_RATE_CREDENTIALS": "100000",
    "PLINTH_RATE_BULK": "100000",
    "PLINTH_ACCESS_TOKEN_TTL": "3600",
    "PLINTH_MAX_QUEUE_SECONDS": "60",
    "PLINTH_DRAIN_SECONDS": "2",
    "PLINTH_LOG_LEVEL": "WARNING",
}


def settings_for_tests(database_url: str, **overrides: object) -> Settings:
    """Cheap password hashes, wide rate limits and much patience, so that no test meets a limit by accident."""
    values: dict[str, object] = {
        "database_url": database_url,
        "data_dir": Path("unused"),
        "master_keys": SecretStr(MASTER_KEYS),
        "argon2_memory_kib": 8,
        "argon2_time": 1,
        "rate_standard": 100_000.0,
        "rate_credentials": 100_000.0,
        "rate_bulk": 100_000.0,
        # Somebody who signed in for all tests of a worker is still signed in when the last of them runs.
        "access_token_ttl": timedelta(hours=1),
        "max_queue_seconds": 60.0,
        "drain_seconds": 2.0,
        "log_level": "WARNING",
        "trace_ratio": 1.0,
    }
    return Settings(**(values | overrides))  # type: ignore[arg-type]  # pydantic validates what this cannot say
