"""The contracts on imports, in pyproject.toml: a domain that nobody has entered there would be bound by none."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from services.domains import DOMAINS

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


@pytest.fixture(scope="module")
def contracts() -> dict[str, Any]:
    """The contracts by the first two words of their names; tomllib has no types for what it reads."""
    stated = tomllib.loads(PYPROJECT.read_text())["tool"]["importlinter"]["contracts"]
    return {" ".join(contract["name"].split()[:2]): contract for contract in stated}


def test_the_chain_may_see_the_stubs_of_no_domain(contracts: dict[str, Any]) -> None:
    assert set(contracts["The chain"]["forbidden_modules"]) == {f"plinth.{domain}" for domain in DOMAINS}


def test_every_domain_is_layered_inside(contracts: dict[str, Any]) -> None:
    assert set(contracts["Inside a"]["containers"]) == {f"services.{domain}" for domain in DOMAINS}


def test_every_domain_has_its_place_beside_the_others(contracts: dict[str, Any]) -> None:
    """Those in brackets may be missing: they are to come."""
    (layer,) = (layer for layer in contracts["Composition roots"]["layers"] if "services.identity" in layer)
    assert set(layer.split(" | ")) - {part for part in layer.split(" | ") if part.startswith("(")} == {
        "interceptors",
        *(f"services.{domain}" for domain in DOMAINS),
    }
