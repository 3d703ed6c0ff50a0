"""The command `plinth`. Each command imports what it needs, so that `plinth --help` answers at once."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from services.kernel.config import Settings
    from services.mesh.envoy import Tls

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="The mesh of Plinth."
)
envoy_app = typer.Typer(no_args_is_help=True, help="The edge.")
operator_app = typer.Typer(no_args_is_help=True, help="Who may operate the instance.")
jobs_app = typer.Typer(no_args_is_help=True, help="Durable jobs.")
app.add_typer(envoy_app, name="envoy")
app.add_typer(operator_app, name="operator")
app.add_typer(jobs_app, name="jobs")

DataDir = Annotated[Path, typer.Option(envvar="PLINTH_DATA_DIR", help="Where the database, keys and logs lie.")]
Address = Annotated[str, typer.Option(help="Where to listen: host:port (port 0: any free one) or unix:/path.")]
Domains = Annotated[str, typer.Option(help="Comma-separated; all of them by default.")]
MetricsPort = Annotated[int | None, typer.Option(help="Loopback port for Prometheus, at /metrics.")]
Certificate = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="PEM; with --key, the edge speaks TLS."),
]
PrivateKey = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="PEM, of the certificate."),
]
_DATA_DIR = Path(".plinth")


@app.command()
def up(
    data_dir: DataDir = _DATA_DIR,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Of the edge, 0: a free one; all else takes free ones.")
    ] = 8080,
    host: Annotated[str, typer.Option(help="Of the edge.")] = "127.0.0.1",
    certificate: Certificate = None,
    key: PrivateKey = None,
    logs: Annotated[bool, typer.Option(help="Show the processes' logs here too.")] = False,
) -> None:
    """Run the whole mesh: database, migrations, server, streams, worker, edge. Ctrl-C drains and stops it."""
    from services.kernel import migrations
    from services.kernel.config import load_settings
    from services.mesh.console import ConsoleReport
    from services.mesh.supervisor import MeshOptions, Supervisor

    settings = load_settings(data_dir=data_dir)
    options = MeshOptions(
        data_dir=data_dir,
        host=host,
        port=port,
        database_url=settings.database_url,
        migrate_database_url=settings.migrate_database_url,
        tls=_tls(certificate, key),
        cors_origins=settings.cors_origins,
        drain_seconds=settings.drain_seconds,
        follow_logs=logs,
    )

    Supervisor(options, migrations.migrate, ConsoleReport()).run()


@app.command()
def serve(address: Address = "127.0.0.1:8081", domains: Domains = "", metrics_port: MetricsPort = None) -> None:
    """Run one server process."""
    from services.kernel.config import load_settings
    from services.serve import serve as run

    run(load_settings(), address=address, domains=_domains(domains), metrics_port=metrics_port)


@app.command()
def streams(address: Address = "127.0.0.1:8082", domains: Domains = "", metrics_port: MetricsPort = None) -> None:
    """Run the process of long-lived streams."""
    from services.kernel.config import load_settings
    from services.streams import serve_streams

    serve_streams(load_settings(), address=address, domains=_domains(domains), metrics_port=metrics_port)


@app.command()
def worker(
    address: Address = "127.0.0.1:8083",
    queues: Annotated[str, typer.Option(help="Comma-separated; jobs of all queues by default.")] = "",
    metrics_port: MetricsPort = None,
) -> None:
    """Run the process of background work: event log, subscribers, jobs, schedules; the address tells its health."""
    from services.kernel.config import load_settings
    from services.worker import work

    work(load_settings(), address=address, queues=_names(queues), metrics_port=metrics_port)


@app.command()
def migrate(
    check: Annotated[
        bool, typer.Option("--check", help="Only say what is missing; exit code 1 if anything is.")
    ] = False,
    to: Annotated[str, typer.Option(help="A revision; an older one downgrades.")] = "head",
    data_dir: DataDir = _DATA_DIR,
) -> None:
    """Bring the database to the schema of this release."""
    from services.kernel import migrations

    url = _owner_url(data_dir)
    if check:
        missing = migrations.pending(url)
        typer.echo(f"missing: {', '.join(missing)}" if missing else "up to date")
        raise typer.Exit(1 if missing else 0)
    before, after = migrations.migrate(url, to)
    typer.echo(f"{before or 'empty'} → {after or 'empty'}" if before != after else f"up to date: {after}")


@envoy_app.command("render")
def envoy_render(
    server: Annotated[str, typer.Option(help="host:port of the server process, comma-separated if several.")],
    stream_server: Annotated[str, typer.Option("--streams", help="host:port of the streams process.")],
    host: Annotated[str, typer.Option()] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where the edge listens.")] = 8080,
    admin: Annotated[str, typer.Option(help="host:port or unix:/path of Envoy's admin interface.")] = "127.0.0.1:9901",
    certificate: Certificate = None,
    key: PrivateKey = None,
) -> None:
    """Print the edge's configuration for servers that run elsewhere."""
    import json

    from services.kernel.config import load_settings
    from services.mesh import envoy
    from services.mesh.supervisor import ENVOY_DIR

    template = envoy.load_template(ENVOY_DIR / "envoy.json")
    endpoints = {name: server.split(",") for name in envoy.cluster_names(template)}
    endpoints[envoy.STREAMS_CLUSTER] = stream_server.split(",")
    edge = envoy.Edge(
        host=host,
        port=port,
        endpoints=endpoints,
        image=ENVOY_DIR / "image.binpb",
        admin=admin,
        tls=_tls(certificate, key),
        cors_origins=load_settings().cors_origins,
    )
    typer.echo(json.dumps(envoy.render(template, edge), indent=2))


@operator_app.command("add")
def operator_add(email: str, data_dir: DataDir = _DATA_DIR) -> None:
    """Make a verified user an operator of this instance."""
    from services.administration import add_operator

    add_operator(_app_settings(data_dir), email)
    typer.echo(f"{email} is an operator now.")


@operator_app.command("remove")
def operator_remove(email: str, data_dir: DataDir = _DATA_DIR) -> None:
    """Make an operator an ordinary user again."""
    from services.administration import remove_operator

    remove_operator(_app_settings(data_dir), email)
    typer.echo(f"{email} is no operator any more.")


@operator_app.command("list")
def operator_list(data_dir: DataDir = _DATA_DIR) -> None:
    """Show who operates this instance."""
    from services.administration import list_operators

    for email in list_operators(_app_settings(data_dir)):
        typer.echo(email)


@jobs_app.command("top")
def jobs_top(
    every: Annotated[float, typer.Option(min=0.1, help="Seconds from one look to the next.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Look once, and end.")] = False,
    data_dir: DataDir = _DATA_DIR,
) -> None:
    """Show how full the queues are, live. Ctrl-C ends it."""
    from services.jobs_top import top

    top(_app_settings(data_dir), every=every, once=once)


@app.command()
def mail(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    to: Annotated[str, typer.Option(help="Only mails to this address.")] = "",
    count: Annotated[int, typer.Option(min=1, max=1000)] = 10,
    data_dir: DataDir = _DATA_DIR,
) -> None:
    """Show the mails that were not handed to an SMTP server, the newest first."""
    from services.administration import show_mail

    show_mail(_app_settings(data_dir), count=count, recipient=to, as_json=as_json)


@app.command()
def demo(
    ephemeral: Annotated[bool, typer.Option(help="Start a mesh of its own, and stop it after.")] = False,
    url: Annotated[str, typer.Option(help="The edge of a running mesh.")] = "http://127.0.0.1:8080",
    data_dir: DataDir = _DATA_DIR,
) -> None:
    """Tell the story of the product against a mesh, call by call. Exit code 1 on any surprise."""
    from services.demo import run

    raise typer.Exit(run(ephemeral=ephemeral, url=url, data_dir=data_dir))


def _domains(text: str) -> tuple[str, ...]:
    from services.wiring import ALL_DOMAINS

    return _names(text) or ALL_DOMAINS


def _names(text: str) -> tuple[str, ...]:
    return tuple(filter(None, map(str.strip, text.split(","))))


def _tls(certificate: Path | None, key: Path | None) -> "Tls | None":
    from services.kernel.config import ConfigError
    from services.mesh.envoy import Tls

    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise ConfigError("--certificate and --key go together")
    return Tls(certificate, key)


def _owner_url(data_dir: Path) -> str:
    from services.kernel.config import load_settings
    from services.mesh.supervisor import running_postgres

    settings = load_settings(data_dir=data_dir)
    return settings.migrate_database_url or settings.database_url or running_postgres(data_dir).url()


def _app_settings(data_dir: Path) -> "Settings":
    from services.kernel.config import load_settings
    from services.mesh.supervisor import APP_LOGIN, running_postgres

    settings = load_settings(data_dir=data_dir)
    if settings.database_url:
        return settings
    return load_settings(data_dir=data_dir, database_url=running_postgres(data_dir).url(APP_LOGIN))


def main() -> None:
    """Run the command line; what a person can mend ends with a message and exit code 2, not with a traceback."""
    from services.kernel.config import ConfigError
    from services.kernel.errors import PlinthError
    from services.mesh.errors import MeshError

    try:
        app()
    except (ConfigError, MeshError, PlinthError) as error:
        typer.secho(str(error), fg=typer.colors.RED, err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
