"""The dashboard's panels as a picture: what their queries gave, drawn without Grafana."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from PIL import Image

Lines = list[tuple[str, list[tuple[float, float]]]]

COLUMNS = 3
SUFFIX = {"reqps": "requests a second", "Bps": "bytes a second", "bytes": "bytes", "s": "s"}
SUFFIX |= {"percentunit": "share", "celsius": "°C", "watt": "W", "bool_yes_no": "1: yes"}


def draw(panels: Sequence[tuple[dict[str, Any], Lines]], file: Path) -> None:
    """One small chart a panel, three in a row, as on the dashboard."""
    rows = -(-len(panels) // COLUMNS)
    figure, axes = plt.subplots(rows, COLUMNS, figsize=(15, 2.6 * rows), layout="constrained")
    for axis in axes.flat[len(panels) :]:
        axis.axis("off")
    for axis, (panel, lines) in zip(axes.flat, panels, strict=False):
        for name, points in lines:
            axis.plot(*zip(*points, strict=True), label=name[:44], linewidth=1)
        unit = SUFFIX.get(panel["fieldConfig"]["defaults"]["unit"], "")
        axis.set_title(f"{panel['title']}{f' ({unit})' if unit else ''}", fontsize=9, loc="left")
        axis.set_ylim(bottom=0)
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.3)
        if len(lines) <= 8:
            axis.legend(fontsize=6, loc="upper left", framealpha=0.6)
    figure.savefig(file, dpi=70)
    plt.close(figure)
    with Image.open(file) as image:  # a third of the size
        few_colours = image.quantize(128)
    few_colours.save(file, optimize=True)
