"""The words of the dashboards: panels, dashboards, and the queries that most of them ask.

It draws nothing and names no panel.
"""

from dataclasses import dataclass, field

NODES = 'job=~"$job",instance=~"$instance"'
RUN = 'testid=~"$testid"'


@dataclass
class Panel:
    """A panel: `queries` are (expression, legend) pairs, `steps` are (value, colour) pairs above green."""

    kind: str
    title: str
    about: str
    unit: str
    queries: list
    width: int = 8
    height: int = 8
    low: float | None = 0
    high: float | None = None
    steps: list = field(default_factory=list)
    text: str = "value"


@dataclass
class Dashboard:
    """A dashboard: rows are (title, panels) pairs; `many`: several nodes at once; `runs`: of k6 too."""

    name: str
    uid: str
    title: str
    about: str
    rows: list
    many: bool = True
    runs: bool = False


def of(family, *more):
    """A family of the chosen nodes."""
    return family + "{" + ",".join([NODES, *more]) + "}"


def rate(family, *by, more=()):
    """What is added to a counter each second, summed by labels."""
    within = f"rate({of(family, *more)}[$__rate_interval])"
    return f"sum by ({', '.join(by)}) ({within})" if by else f"sum({within})"


def quantile(share, family, *by):
    """A quantile of a histogram, by labels."""
    return f"histogram_quantile({share}, {rate(family + '_bucket', 'le', *by)})"


def quantiles(family):
    """Median and 99th percentile of a histogram."""
    return [(quantile(0.5, family), "p50"), (quantile(0.99, family), "p99")]


def stat(title, about, unit, expression, width=4, **more):
    """One number."""
    return Panel("stat", title, about, unit, [(expression, "__auto")], width=width, height=4, **more)


def line(title, about, unit, *queries, **more):
    """Lines over time."""
    return Panel("line", title, about, unit, list(queries), **more)


def stack(title, about, unit, *queries, **more):
    """Stacked lines over time."""
    return Panel("stack", title, about, unit, list(queries), **more)


def heat(title, about, unit, family, **more):
    """A heat map of a histogram."""
    return Panel("heat", title, about, unit, [(rate(family + "_bucket", "le"), "{{le}}")], **more)
