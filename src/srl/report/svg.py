"""SVG elements as text that is known to be safe: every text and attribute value is escaped here and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

from srl.report.text import visible


def drawing(width: float, height: float, parts: Sequence[Markup], kind: str, description: str, **more: str) -> Markup:
    """A whole drawing of a style class, with its text for screen readers."""
    # Natural size in pixels, scaled down by the style sheet where the column is narrower.
    size = {"viewBox": f"0 0 {width:g} {height:g}", "width": f"{width:g}", "height": f"{height:g}"}
    return tag("svg", *parts, class_=kind, role="img", aria_label=description, **size, **more)


def tag(name: str, *children: str | Markup, **attributes: str | float) -> Markup:
    """One element; text and attribute values are escaped, ``class_`` and ``data_x`` become class and data-x."""
    written = Markup("")
    for key, value in attributes.items():
        text = visible(value) if isinstance(value, str) else f"{value:g}"
        written += Markup(' {}="{}"').format(key if key == "viewBox" else key.rstrip("_").replace("_", "-"), text)
    content = Markup("").join(child if isinstance(child, Markup) else escape(visible(child)) for child in children)
    return Markup("<{name}{attributes}>{content}</{name}>").format(name=name, attributes=written, content=content)
