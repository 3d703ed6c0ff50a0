"""The dashboard and the alerts ask for what the processes tell, and nothing that they tell is forgotten."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.registry import Collector

from interceptors.metrics import Metrics
from services.documents.repository import DocumentsRepositories
from services.documents.service import DocumentsGauges, StageReport
from services.gauges import EventLogLag, ProcessGauges, StreamGauges
from services.kernel.event_log import PostgresEventLog
from services.kernel.jobs.gauges import QueueGauges
from services.kernel.jobs.report import Report
from services.kernel.unit_of_work import Units
from services.runtime import Runtime
from services.search.embedders.report import EmbedderReport
from services.search.service.search_report import SearchReport

DEPLOY = Path(__file__).parents[1] / "deploy"
_NAME = re.compile(r"\bplinth_[a-z_]+\b")
_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}


@pytest.fixture(scope="module")
def told(runtime: Runtime) -> dict[str, set[str]]:
    """The names of each metric's samples, of all processes together."""
    source = PostgresEventLog(runtime.database, runtime.database.connect)
    collectors: list[Collector] = [
        Metrics(),
        ProcessGauges(runtime.hub, runtime.database),
        EventLogLag(source, runtime.kernel_session, runtime.clock),
        QueueGauges(runtime.database, runtime.clock),
        Report(None, lambda: 0),
        StreamGauges(lambda: 0, lambda: 0.0),
        StageReport(lambda: (0, 0)),
        DocumentsGauges(Units(runtime.resources, "documents", DocumentsRepositories), runtime.clock),
        SearchReport(),
        EmbedderReport(),
    ]
    return {metric.name: _samples(metric) for collector in collectors for metric in collector.collect()}


def _samples(metric: Metric) -> set[str]:
    return {metric.name + suffix for suffix in _SUFFIXES.get(metric.type, ("",))}


def _panels() -> Iterator[str]:
    for panel in json.loads((DEPLOY / "grafana" / "mesh.json").read_text())["panels"]:
        for target in panel["targets"]:
            yield target["expr"]


def _asked(text: str) -> set[str]:
    return set(_NAME.findall(text))


def test_the_dashboard_shows_every_metric_and_no_other(told: dict[str, set[str]]) -> None:
    asked = set().union(*map(_asked, _panels()))
    assert asked <= set().union(*told.values())
    assert [name for name, samples in told.items() if not samples & asked] == []


def test_alerts_ask_for_what_is_told(told: dict[str, set[str]]) -> None:
    asked = _asked((DEPLOY / "prometheus" / "alerts.yml").read_text())
    assert asked <= set().union(*told.values())
    assert {"plinth_sequencer_oldest_seconds", "plinth_subscriber_lag_seconds", "plinth_jobs_dead"} <= asked


def test_the_manual_says_what_to_do_when_an_alert_fires() -> None:
    alerts = set(re.findall(r"alert: (\w+)", (DEPLOY / "prometheus" / "alerts.yml").read_text()))
    _, _, chapter = (DEPLOY.parent / "docs" / "operations.md").read_text().partition("## When an alert fires")
    assert alerts
    assert alerts == set(re.findall(r"`(Plinth\w+)`", chapter))


def test_panels_lie_beside_each_other() -> None:
    panels = json.loads((DEPLOY / "grafana" / "mesh.json").read_text())["panels"]
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(places)) == len({panel["id"] for panel in panels}) == len(panels)
