"""Pure: the template of a key attribute, text with `{path}` or `{path|path}`, filled from a session."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from recon.domain.stripe_objects import EMAIL, METADATA, Json
from recon.domain.stripe_values import find_object, find_reference, find_text, is_storable

ID = "id"
_FIELDS = (ID, "payment_intent", "client_reference_id", "customer")
PATHS = (*_FIELDS, EMAIL, f"{METADATA}<key>")
# A key of DynamoDB holds no more, and a message must stay far below the limits of SQS.
MAX_KEY_VALUE = 1024
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")

type Choice = tuple[str, ...]  # paths, of which the first that is not empty counts


@dataclass(frozen=True)
class KeyTemplate:
    """The parts of a template in their order: literal text, or a choice of paths."""

    parts: tuple[str | Choice, ...]

    def __str__(self) -> str:
        return "".join(part if isinstance(part, str) else f"{{{'|'.join(part)}}}" for part in self.parts)

    @property
    def paths(self) -> tuple[str, ...]:
        """Return all paths of the template."""
        return tuple(path for part in self.parts if not isinstance(part, str) for path in part)

    def fill(self, values: Mapping[str, str]) -> str | None:
        """Return the text with the values of the paths, or None if a choice has no value."""
        texts = [part if isinstance(part, str) else _choose(part, values) for part in self.parts]
        return None if None in texts else "".join(filter(None, texts))


def _choose(choice: Choice, values: Mapping[str, str]) -> str | None:
    return next((value for path in choice if (value := values.get(path))), None)


def parse_template(text: str) -> KeyTemplate:
    """Return the template of a text. Raise ValueError that says what is wrong and what would be right."""
    parts: list[str | Choice] = []
    end = 0
    for found in _PLACEHOLDER.finditer(text):
        parts += [_check_literal(text[end : found.start()]), _parse_choice(found[1])]
        end = found.end()
    parts.append(_check_literal(text[end:]))
    template = KeyTemplate(tuple(part for part in parts if part))
    if not template.parts:
        raise ValueError("it is empty; write a path in braces, such as {metadata.orderId}")
    return template


def _check_literal(text: str) -> str:
    if "{" in text or "}" in text:
        raise ValueError(f"{text!r} has a brace without its other half; write {{path}} or {{path|path}}")
    if text and not is_storable(text):
        raise ValueError("it has a character that DynamoDB cannot store")
    return text


def _parse_choice(text: str) -> Choice:
    paths = tuple(path.strip() for path in text.split("|"))
    for path in paths:
        if path not in PATHS[:-1] and not (path.startswith(METADATA) and path != METADATA):
            raise ValueError(f"{path!r} is no path of a session; the paths are {', '.join(PATHS)}")
    return paths


def read_values(session: Json, paths: tuple[str, ...]) -> dict[str, str]:
    """Return the values of a session at these paths; one that is empty or no text is "".

    The id is left out, since every message has it.
    """
    found = {path: _read_value(session, path) or "" for path in paths if path != ID}
    return {path: value if is_key_value(value) else "" for path, value in found.items()}


def is_key_value(text: str) -> bool:
    """Return whether a text, which may be empty, can be a part of a key."""
    return len(text) <= MAX_KEY_VALUE and (not text or is_storable(text))


def _read_value(session: Json, path: str) -> str | None:
    if path == EMAIL:
        # As Stripe's own fallback: the address of an open session that the shop set.
        return find_text(find_object(session, "customer_details"), "email") or find_text(
            session, "customer_email"
        )
    if path.startswith(METADATA):
        return find_text(find_object(session, "metadata"), path.removeprefix(METADATA))
    return find_reference(session, path)
