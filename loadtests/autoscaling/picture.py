"""Draws what `run` found: a column for each load, from the load at the top to failures at the bottom. Needs matplotlib.

python loadtests/autoscaling/picture.py     draws the result that is there anew
"""

import importlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROWS = (
    ("requests/s", {"offered": "tab:blue"}),
    ("pods", {"wanted": "tab:orange", "ready": "tab:green"}),
    ("requests", {"in_flight": "tab:green", "queued": "tab:red"}),
    ("seconds waited", {"wait_p95": "tab:purple"}),
    ("failed so far", {"failed": "black"}),
)
LABELS = {"offered": "begun", "in_flight": "at pods", "wait_p95": "95 % of the answers of a second"}


def draw(loads: Mapping[str, Any], path: Path) -> None:
    """Write the picture, or say why there is none."""
    try:
        matplotlib = importlib.import_module("matplotlib")
        matplotlib.use("agg")
        plots = importlib.import_module("matplotlib.pyplot")
    except ImportError:
        print("no picture: matplotlib is missing (pip install -e '.[loadtests]')", file=sys.stderr)
        return
    size = (4.2 * len(loads), 10)
    figure, axes = plots.subplots(
        len(ROWS), len(loads), figsize=size, sharex="col", sharey="row", squeeze=False
    )
    for column, (name, load) in enumerate(loads.items()):
        axes[0][column].set_title(f"{name}: {load['about']}", fontsize=9)
        axes[-1][column].set_xlabel("seconds")
        timeline = load["timeline"]
        for row, (unit, series) in enumerate(ROWS):
            plot = axes[row][column]
            for key, colour in series.items():
                values = [float("nan") if value is None else value for value in timeline[key]]
                style = {"marker": ".", "markersize": 3} if key == "wait_p95" else {"drawstyle": "steps-post"}
                plot.plot(
                    timeline["second"],
                    values,
                    color=colour,
                    label=LABELS.get(key, key),
                    linewidth=1.2,
                    **style,
                )
            plot.grid(alpha=0.3)
            plot.set_ylim(0, _top(loads, series))
            if not column:
                plot.set_ylabel(unit)
                plot.legend(fontsize=8, loc="upper left")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    print(f"drawn in {path}")


def _top(loads: Mapping[str, Any], series: Mapping[str, str]) -> float:
    """One scale for all columns."""
    values = (value or 0 for load in loads.values() for key in series for value in load["timeline"][key])
    return 1.05 * max(values) or 1.0


if __name__ == "__main__":
    draw(json.loads((HERE / "result.json").read_text())["loads"], HERE / "result.png")
