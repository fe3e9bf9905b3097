"""A report as one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from gnas.printable import printable
from gnas.report.page import Axis, Chart, Page, Section, Series
from gnas.runs import to_jsonable

PALETTE = 8
"""Colours of the style sheet; lines beyond that have other styles: no two look the same."""
DASHES = ("", "7,4", "9,3,2,3", "2,3")
"""Dashes and gaps of the styles of lines, see `Series.style`."""
RELOAD_S = 5
"""Seconds after which the page of a run that goes on loads itself again."""


def render(page: Page) -> str:
    """The page as HTML: no file, font or address is loaded from elsewhere.

    Every text from a run is escaped, and only the two scripts of this package may run: a policy
    (Content-Security-Policy) in the page names their digests.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("gnas.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    library, script, style = (_asset(name) for name in ("plot.min.js", "page.js", "page.css"))
    charts: list[dict[str, Any]] = []
    numbers: dict[int, int] = {}

    def number_of(chart: Chart, run: int) -> int:
        """The number of a chart, whose data the page's script finds by it."""
        if id(chart) not in numbers:
            numbers[id(chart)] = len(charts)
            charts.append(_chart(chart, run))
        return numbers[id(chart)]

    for run, sections in [
        (-1, page.comparison),
        *((k, r.sections) for k, r in enumerate(page.runs)),
    ]:
        for chart in _charts(sections):
            number_of(chart, run)
    return environment.get_template("page.html.jinja").render(
        page=page,
        style=style,
        scripts=(library, script),
        policy=f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src "
        f"{' '.join(f'{chr(39)}sha256-{_digest(one)}{chr(39)}' for one in (library, script))}",
        number_of=number_of,
        data=script_json({"charts": charts, "live": page.live, "reload": RELOAD_S}),
    )


def script_json(value: object) -> Markup:
    r"""JSON that may stand in a ``<script>`` element, whatever texts it holds.

    Examples:
        >>> str(script_json({"name": "</script><!--"}))
        '{"name":"\\u003c/script\\u003e\\u003c!--"}'
    """
    text = json.dumps(
        _safe(to_jsonable(value)), allow_nan=False, ensure_ascii=True, separators=(",", ":")
    )
    for sign in "<>&'":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


def _safe(value: Any) -> Any:
    """Texts as `printable` shows them, in all of a JSON value."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        return [_safe(one) for one in value]
    if isinstance(value, dict):
        return {printable(key): _safe(one) for key, one in value.items()}
    return value


def _shown(value: Any) -> Any:
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def _asset(name: str) -> Markup:
    """A file of the package as the content of a ``<script>`` or ``<style>`` element."""
    text = (files("gnas.report") / "static" / name).read_text(encoding="utf-8")
    assert "</script" not in text and "</style" not in text and "<!--" not in text
    return Markup(text)


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _charts(sections: Sequence[Section]) -> list[Chart]:
    return [block for one in sections for block in one.blocks if isinstance(block, Chart)]


def _chart(chart: Chart, run: int) -> dict[str, Any]:
    """Data of the page's script; architectures are named as its templates are."""
    return {
        "title": chart.title,
        "x": _axis(chart.x),
        "y": _axis(chart.y),
        "series": [
            _series(series, run)
            | {"dash": DASHES[(series.style or place // PALETTE) % len(DASHES)]}
            for place, series in enumerate(chart.series)
        ],
    }


def _axis(axis: Axis) -> Mapping[str, Any]:
    return {"label": axis.label, "form": axis.form, "log": axis.log, "names": axis.names}


def _series(series: Series, run: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": series.name,
        "kind": series.kind,
        "colour": series.colour,
        "symbol": series.symbol,
        "x": _rounded(series.x),
        "y": _rounded(series.y),
    }
    if series.low:
        found |= {"low": _rounded(series.low), "high": _rounded(series.high)}
    if series.cells:
        found["cells"] = [None if cell is None else f"cell-{run}-{cell}" for cell in series.cells]
    if series.labels:
        found["labels"] = series.labels
    return found


def _rounded(values: Sequence[float | None]) -> list[float | None]:
    """Six digits are more than a chart shows."""
    return [
        None
        if v is None or not math.isfinite(v)
        else v
        if isinstance(v, int)
        else float(f"{v:.6g}")
        for v in values
    ]
