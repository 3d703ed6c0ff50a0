"""Settings from the environment: a bad one is named, and nothing secret is shown."""

from datetime import timedelta

import pytest

from services.kernel.config import ConfigError, load_settings

SECRET = "hunter2-hunter2"


class TestLoadSettings:
    def test_reads_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PLINTH_POOL_SIZE", "3")
        monkeypatch.setenv("PLINTH_CORS_ORIGINS", "https://a.example, https://b.example,")
        monkeypatch.setenv("PLINTH_PEERS", "identity=127.0.0.1:1,tenancy=127.0.0.1:2")
        monkeypatch.setenv("PLINTH_REFRESH_GRACE", "PT5S")
        settings = load_settings()
        assert settings.pool_size == 3
        assert settings.cors_origins == ("https://a.example", "https://b.example")
        assert settings.peers == {"identity": "127.0.0.1:1", "tenancy": "127.0.0.1:2"}
        assert settings.refresh_grace == timedelta(seconds=5)

    def test_takes_a_duration_in_seconds_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PLINTH_ACCESS_TOKEN_TTL", "600")
        assert load_settings().access_token_ttl == timedelta(minutes=10)

    @pytest.mark.parametrize(
        ("variable", "value"),
        [
            ("PLINTH_POOL_SIZE", "many"),
            ("PLINTH_POOL_SIZE", "0"),
            ("PLINTH_THREADS", "-1"),
            ("PLINTH_TRACE_RATIO", "2"),
            ("PLINTH_LOG_LEVEL", "LOUD"),
            ("PLINTH_PEERS", "identity"),
            ("PLINTH_ACCESS_TOKEN_TTL", "soon"),
            ("PLINTH_DATABASE_URL", "mysql://root@localhost/x"),
            ("PLINTH_MIGRATE_DATABASE_URL", "not a url"),
            ("PLINTH_PUBLIC_URL", "javascript:alert(1)"),
            ("PLINTH_EMBEDDER_URL", "https://name:password@embedder.test/v1"),
            ("PLINTH_EMBEDDER_KEY", "two words"),
            ("PLINTH_EMBEDDER_PATH", "/no/such/folder"),
        ],
    )
    def test_names_the_variable_that_is_not_valid(
        self, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
    ) -> None:
        monkeypatch.setenv(variable, value)
        with pytest.raises(ConfigError, match=variable):
            load_settings()

    def test_wants_to_know_the_model_of_a_provider(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PLINTH_EMBEDDER_URL", "https://embedder.test/v1")
        with pytest.raises(ConfigError, match=r"(?s)PLINTH_EMBEDDER_MODEL.*PLINTH_EMBEDDER_DIMENSIONS"):
            load_settings()

    def test_names_every_one_of_them_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PLINTH_POOL_SIZE", "many")
        monkeypatch.setenv("PLINTH_THREADS", "few")
        with pytest.raises(ConfigError, match=r"(?s)PLINTH_POOL_SIZE.*PLINTH_THREADS"):
            load_settings()

    def test_shows_no_value_when_it_refuses(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for variable in ("POOL_SIZE", "PEERS", "LOG_LEVEL", "RATE_BULK"):
            monkeypatch.setenv(f"PLINTH_{variable}", SECRET)
        with pytest.raises(ConfigError) as raised:
            load_settings()
        assert SECRET not in str(raised.value)
        assert raised.value.__cause__ is None

    def test_shows_no_secret_when_printed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PLINTH_MASTER_KEYS", SECRET)
        monkeypatch.setenv("PLINTH_SMTP_URL", f"smtp://me:{SECRET}@host")
        settings = load_settings()
        assert settings.master_keys.get_secret_value() == SECRET
        assert SECRET not in repr(settings)
