"""HTML that escapes what it is given: text becomes markup by `element` alone."""

from collections.abc import Iterable
from html import escape


class Html(str):
    """Markup, safe to be part of a page. Any other text is escaped where it becomes part of one."""

    __slots__ = ()


type Content = str | Iterable[Content]  # an Html, a text to escape, or a sequence of either

# Closed by themselves: in SVG a browser would take all that follows for their content.
_VOID = {"meta", "link", "rect", "line"}


def element(name: str, /, *content: Content, **attributes: str | int | None) -> Html:
    """`element("a", "text", href=url)`. A name ends in `_` where Python keeps it for itself, and has `_` for
    `-`; an attribute that is None is left out."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{given}/>") if name in _VOID else Html(f"<{name}{given}>{joined(content)}</{name}>")


def joined(content: Content) -> Html:
    if isinstance(content, Html):
        return content
    if isinstance(content, str):
        return Html(escape(content))
    return Html("".join(joined(part) for part in content))
