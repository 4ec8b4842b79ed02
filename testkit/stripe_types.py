"""The types of the pinned stripe library: the properties of each object and their resolved types."""

import ast
import importlib
import inspect
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, ClassVar, get_origin, get_type_hints


class NamesForTypeChecking(Mapping[str, Any]):
    """The names that a module of the library imports only for type checkers, imported on access."""

    def __init__(self, module_name: str) -> None:
        tree = ast.parse(inspect.getsource(sys.modules[module_name]))
        guarded = (node for node in ast.walk(tree) if isinstance(node, ast.If))
        imports = [line for node in guarded for line in node.body if isinstance(line, ast.ImportFrom)]
        self._origins = {
            alias.asname or alias.name: (str(line.module), alias.name)
            for line in imports
            for alias in line.names
        }

    def __getitem__(self, name: str) -> Any:
        module, original = self._origins[name]
        return getattr(importlib.import_module(module), original)

    def __iter__(self) -> Iterator[str]:
        return iter(self._origins)

    def __len__(self) -> int:
        return len(self._origins)


_names = cache(NamesForTypeChecking)


@cache
def properties(cls: type[Any]) -> dict[str, Any]:
    """Return the annotated properties of one class of the library with resolved types."""
    hints = get_type_hints(cls, vars(sys.modules[cls.__module__]), _names(cls.__module__))
    own = {name for base in cls.__mro__ if base.__module__ == cls.__module__ for name in base.__annotations__}
    return {
        name: hint
        for name, hint in hints.items()
        if name in own and not name.startswith("_") and get_origin(hint) is not ClassVar
    }
