"""The report as a picture.

Knows: matplotlib.
Must not know: how figures come about.
"""

from pathlib import Path

from ops.bench.figures import Report


def draw(report: Report, path: Path) -> None:
    """Latencies by load and, with peers, times as multiples of ours; as SVG."""
    import matplotlib as mpl  # noqa: PLC0415  an extra, loaded when a picture is drawn

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    loads = [load for load in report.loads if load.name.startswith("short")][::-1]
    for percent, height in (("p99", 0.8), ("p95", 0.6), ("p50", 0.4)):
        values = [getattr(load, percent) for load in loads]
        left.barh([load.name for load in loads], values, height, label=percent)
    left.set_xlabel("seconds from request to answer")
    left.legend(frameon=False)
    if report.systems:
        ours, *_ = report.systems
        names = [system.name for system in report.systems][::-1]
        ratios = [system.short_s / ours.short_s for system in report.systems][::-1]
        right.barh([f"{name}, short" for name in names], ratios)
        long = [(s.long_s or 0.0) / (ours.long_s or 1.0) for s in report.systems][::-1]
        right.barh([f"{name}, long" for name in names], long)
        right.axvline(1.0, color="black", linewidth=0.8)
        right.set_xlabel("time, ours = 1")
    else:
        right.set_axis_off()
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)
    plt.close(figure)
