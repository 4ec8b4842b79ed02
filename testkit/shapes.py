"""The names of the untyped data that the test kit passes around."""

from typing import Any

type JsonObject = dict[str, Any]
"""An object as `json` reads it, or a DynamoDB item with plain Python values."""

type AttributeValue = dict[str, Any]
"""One value as DynamoDB transports it, for example `{"S": "text"}`."""

type AttributeMap = dict[str, AttributeValue]
"""An item as DynamoDB transports it: attribute values by name."""
