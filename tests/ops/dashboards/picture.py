"""Draws a dashboard from the data that its panels would show, for people without a Grafana at hand.

It asks nobody; it is an aid for the eye, not a copy of Grafana.
"""

import re
import textwrap

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402

# Inches a row of panels, and a row of numbers.
TALL, SHORT, WIDE = 2.6, 1.1, 18
UNITS = {"s": (1e3, "ms"), "percentunit": (100, "%"), "bytes": (1 / 1024, "KiB")}


def scaled(unit):
    """A factor and a name for people."""
    return UNITS.get(unit, (1, {"cps": "/s", "ops": "/s"}.get(unit, "")))


def named(legend, labels):
    """A series' legend with its labels filled in."""
    return re.sub(r"{{(\w+)}}", lambda found: labels.get(found[1], ""), legend)


def draw_number(axes, panel, answers):
    """A big number."""
    factor, unit = scaled(panel["fieldConfig"]["defaults"]["unit"])
    value = answers[0][0][1][-1][1] * factor if answers[0] else float("nan")
    axes.text(0.5, 0.4, f"{value:,.4g} {unit}", ha="center", va="center", fontsize=17, color="seagreen")
    axes.set_axis_off()


def draw_heat(axes, panel, answers):
    """A heat map: a column a second, a row a bucket."""
    by_edge = {float(labels["le"]): dict(points) for labels, points in answers[0]}
    edges = sorted(by_edge)
    times = sorted({at for points in by_edge.values() for at in points})
    below = np.array([[by_edge[edge].get(at, 0.0) for at in times] for edge in edges])
    within = np.diff(below, axis=0, prepend=0).clip(0)
    axes.imshow(within, aspect="auto", origin="lower", cmap="Oranges", interpolation="nearest")
    axes.set_yticks(range(len(edges)), [f"{edge:g}" for edge in edges], fontsize=5)
    axes.set_xticks([])


def draw_lines(axes, panel, answers):
    """Lines, stacked where the panel says so."""
    factor, unit = scaled(panel["fieldConfig"]["defaults"]["unit"])
    found = [
        (named(target["legendFormat"], labels), dict(points))
        for target, series in zip(panel["targets"], answers, strict=True)
        for labels, points in series
    ]
    times = sorted({at for _, points in found for at in points})
    start = times[0] if times else 0
    values = [[points.get(at, np.nan) * factor for at in times] for _, points in found]
    at = [time - start for time in times]
    if panel["fieldConfig"]["defaults"]["custom"]["stacking"]["mode"] == "normal":
        axes.stackplot(at, np.nan_to_num(values), labels=[name for name, _ in found], alpha=0.7)
    else:
        for (name, _), line in zip(found, values, strict=True):
            axes.plot(at, line, label=name, linewidth=1)
    axes.set_ylim(bottom=0)
    axes.set_ylabel(unit, fontsize=6)
    axes.tick_params(labelsize=6)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=5, loc="upper left", ncols=2, framealpha=0.6)


DRAW = {"stat": draw_number, "heatmap": draw_heat, "timeseries": draw_lines}


def draw(title, rows, path):
    """Draws rows of (title, [(panel, answers)]) into a PNG; `answers` are the series of each of a panel's queries."""
    lines = []
    for row, drawn in rows:
        tops = sorted({panel["gridPos"]["y"] for panel, _ in drawn})
        lines += [
            (row if top == tops[0] else "", [p for p in drawn if p[0]["gridPos"]["y"] == top]) for top in tops
        ]
    heights = [SHORT if line[0][0]["type"] == "stat" else TALL for _, line in lines]
    tall = sum(heights) + 1
    figure = plt.figure(figsize=(WIDE, tall))
    figure.suptitle(title, fontsize=16, y=1 - 0.3 / tall)
    grid = figure.add_gridspec(
        len(lines),
        24,
        height_ratios=heights,
        left=0.04,
        right=0.99,
        top=1 - 1 / tall,
        bottom=0.01,
        hspace=0.5,
        wspace=4,
    )
    for number, (row, line) in enumerate(lines):
        for panel, answers in line:
            place = panel["gridPos"]
            axes = figure.add_subplot(grid[number, place["x"] : place["x"] + place["w"]])
            head = f"{row.upper()}\n" if row and place["x"] == 0 else ""
            axes.set_title(head + textwrap.shorten(panel["title"], 60), fontsize=8, loc="left")
            DRAW[panel["type"]](axes, panel, answers)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)
    plt.close(figure)
