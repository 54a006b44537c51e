"""Templates of `templates/`, and the numbers in them as the report writes numbers."""

from __future__ import annotations

import functools
import json
import re
from typing import TYPE_CHECKING, Any

from .figures import megabytes, percent, short

if TYPE_CHECKING:
    from jinja2 import Environment


def render(name: str, **values: Any) -> str:
    """A template with its values, of which HTML escapes every one and Markdown none.

    Raises jinja2.UndefinedError where the template asks for a value that is not there.
    """
    return environment().get_template(name).render(values)


def colours() -> dict[str, str]:
    """Name -> "#rrggbb" of the style sheet's light colours, for what is drawn without it."""
    loaded = environment()
    assert loaded.loader is not None
    css, _, _ = loaded.loader.get_source(loaded, "style.css")
    return dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", css.partition("}")[0]))


@functools.cache
def environment() -> Environment:
    """Where templates come from, and the filters that they may use."""
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    made = Environment(
        loader=PackageLoader(__package__),
        autoescape=select_autoescape(disabled_extensions=("md.j2",), default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {"short": short, "percent": percent, "megabytes": megabytes}
    made.filters |= {"count": _count, "place": _place, "json": json.dumps}
    return made


def _count(number: float, digits: int = 0) -> str:
    return f"{number:,.{digits}f}"


def _place(number: float) -> str:
    """A coordinate, to a hundredth."""
    return f"{number:.2f}".rstrip("0").rstrip(".")
