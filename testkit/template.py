"""Reads a CloudFormation template; `cfn-lint`, which checks it, takes seconds of every process to import."""

from typing import Any

import yaml


class _Loader(yaml.CSafeLoader):
    """Reads the short forms of functions as their long forms, and dates as text."""


def _read_function(loader: _Loader, name: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        text = str(node.value)
        value = text.split(".", 1) if name == "GetAtt" else text
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        raise yaml.constructor.ConstructorError(None, None, f"!{name} has neither a text nor a list")
    return {name if name == "Ref" else f"Fn::{name}": value}


_Loader.add_multi_constructor("!", _read_function)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", lambda _, node: node.value)


def parse_template(text: str) -> Any:
    """Return a template with the long forms of all functions."""
    return yaml.load(text, _Loader)  # noqa: S506 - a safe loader with constructors of its own
