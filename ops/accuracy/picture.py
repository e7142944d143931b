"""The report's error rates as bars, in PNG and SVG.

Knows: matplotlib.
Must not know: how figures come about.
"""

from pathlib import Path

from ops.accuracy.normalise import CHARACTER_LANGUAGES
from ops.accuracy.report import Report


def draw(report: Report, folder: Path) -> list[Path]:
    """Write `accuracy.png` and `accuracy.svg`; nothing if no clip holds speech.

    A thin line over a bar is its 95 % interval. Error rates by characters stand there only for
    languages that have none by words.
    """
    groups = [
        group
        for group in report.groups
        if group.measure == "WER" or group.title in CHARACTER_LANGUAGES
    ]
    if not groups:
        return []
    import matplotlib as mpl  # noqa: PLC0415  an extra, loaded when a picture is drawn

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(figsize=(1.2 + 0.9 * len(groups), 4.5), layout="constrained")
    width = 0.8 / len(report.systems)
    for index, system in enumerate(report.systems):
        scores = [group.scores[system] for group in groups]
        places = [place + (index + 0.5) * width - 0.4 for place in range(len(scores))]
        axes.bar(places, [score.rate * 100 for score in scores], width, label=system)
        for place, score in zip(places, scores, strict=True):
            if score.interval:
                ends = [score.interval.low * 100, score.interval.high * 100]
                axes.plot([place, place], ends, color="black", linewidth=0.8)
    axes.set_xticks(
        range(len(groups)),
        [f"{group.measure}\n{group.title}\n{group.clips}" for group in groups],
        fontsize=8,
    )
    axes.set_ylabel("error rate, %")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    paths = [folder / "accuracy.png", folder / "accuracy.svg"]
    for path in paths:
        figure.savefig(path, dpi=120)
    plt.close(figure)
    return paths
