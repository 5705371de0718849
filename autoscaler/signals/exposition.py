"""The series of a few metrics out of a page in Prometheus's text format, or OpenMetrics'.

A core. A model server's page is 300 KB, of which a line or two are asked for: those are found by their name, and nothing else is
parsed, so that a page takes a tenth of a millisecond. What other lines hold does not matter; a wanted line that cannot be read, or whose value is no
finite number, is as if it were not there. Neighbours: `scraper` brings the pages, `rounds` makes one value of those of all pods.
"""

import math
import re
from collections.abc import Iterator, Mapping

Series = dict[str, float]
"""Values by the text of a series' labels: what tells it from others of its metric on one server's pages."""

_BLANKS = b" \t"
_ENDS = ("_total", "_count")
"""Of the samples of a counter, and of a histogram or summary."""
_SAMPLE = re.compile(r'[ \t]*(?:\{((?:[^"}]|"(?:[^"\\]|\\.)*")*)\}|(?=[ \t]))[ \t]*([^ \t]+)')
_LABEL = re.compile(r'[ \t,]*([a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*"((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")
_NUMBER = re.compile(
    r"[+-]?(?:inf(?:inity)?|[0-9]+\.?[0-9]*(?:e[+-]?[0-9]+)?|\.[0-9]+(?:e[+-]?[0-9]+)?)", re.IGNORECASE
)


def read(page: bytes, metric: str, labels: Mapping[str, str]) -> Series:
    """The series of `metric` that have all of `labels`; empty when there is none."""
    return {series: value for series, value in _samples(page, metric, labels) if math.isfinite(value)}


def missing(page: bytes, metric: str, labels: Mapping[str, str]) -> str:
    """What the page lacks when `read` finds nothing, for people: the metric, or a number in it.

    With the name that a counter's or a histogram's samples have, when that is there.
    """
    text = metric
    if labels:
        text += "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}"
    if any(_samples(page, metric, labels)):
        return f"number in {text}"
    longer = (metric + end for end in _ENDS if any(_samples(page, metric + end, labels)))
    return ", but ".join([text, *longer])


def _samples(page: bytes, metric: str, labels: Mapping[str, str]) -> Iterator[tuple[str, float]]:
    for line in _lines(page, metric.encode()):
        sample = _SAMPLE.match(line)
        if sample is not None and (not labels or labels.items() <= _labels(sample[1] or "").items()):
            yield sample[1] or "", _number(sample[2])


def _lines(page: bytes, name: bytes) -> Iterator[str]:
    """What stands behind `name` in each line that begins with it; a longer name is another metric's."""
    at = page.find(name)
    while at != -1:
        end = page.find(b"\n", at)
        end = len(page) if end == -1 else end
        start = page.rfind(b"\n", 0, at) + 1
        behind = at + len(name)
        if page[behind : behind + 1] in (b"{", b" ", b"\t") and not page[start:at].strip(_BLANKS):
            yield page[behind:end].rstrip(b" \t\r").decode("utf-8", "replace")
        at = page.find(name, end)


def _number(text: str) -> float:
    """NaN for what is none."""
    return float(text) if _NUMBER.fullmatch(text) else math.nan


def _labels(text: str) -> dict[str, str]:
    """Up to the first that is none: a search for others behind it would look at garbage once from each of its characters on."""
    found, at = {}, 0
    while label := _LABEL.match(text, at):
        found[label[1]] = _ESCAPED.sub(_unescaped, label[2])
        at = label.end()
    return found


def _unescaped(found: re.Match[str]) -> str:
    return "\n" if found[1] == "n" else found[1]
