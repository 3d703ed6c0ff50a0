"""Latency against load, as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl

from tests.bench.measure import Point

mpl.use("Agg")
from matplotlib import pyplot as plt

_COLOURS = ("tab:blue", "tab:orange", "tab:green", "tab:red")


def draw(curves: Mapping[str, Sequence[Point]], path: Path) -> None:
    """A line for p50 and one for p99 of each curve, over the calls offered a second; as PNG."""
    figure, axes = plt.subplots(figsize=(9, 5.5))
    for colour, (name, points) in zip(_COLOURS, curves.items(), strict=False):
        loads = [point.offered for point in points]
        axes.plot(loads, [point.p50 * 1e3 for point in points], "o-", color=colour, label=f"{name}, p50")
        axes.plot(loads, [point.p99 * 1e3 for point in points], "s--", color=colour, label=f"{name}, p99")
    axes.set_yscale("log")
    axes.set_xlim(left=0)
    axes.set_xlabel("calls offered a second (the server has one core)")
    axes.set_ylabel("latency in ms")
    axes.set_title("GetWorkspace: latency against load")
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)
