"""HTML that escapes its content: only `element` turns text into markup."""

from collections.abc import Iterable
from html import escape


class Html(str):
    """Markup that is safe to use in a page. Any other text is escaped where it is used."""

    __slots__ = ()


type Content = str | Iterable[Content]  # an Html, a text to escape, or a sequence of either

# Elements without content. In SVG a browser would take what follows an unclosed tag for its content.
_VOID = {"meta", "link", "rect", "line"}


def element(name: str, /, *content: Content, **attributes: str | int | None) -> Html:
    """Return an element, for example `element("a", "text", href=url)`.

    An attribute name ends in `_` if it is a Python keyword and has `_` for `-`. None leaves an attribute out.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{given}/>") if name in _VOID else Html(f"<{name}{given}>{join(content)}</{name}>")


def join(content: Content) -> Html:
    """Return the content as markup, with all text escaped."""
    if isinstance(content, Html):
        return content
    if isinstance(content, str):
        return Html(escape(content))
    return Html("".join(join(part) for part in content))
