"""Update expressions: every operand is read from the item as it was, then all attributes are written."""

from collections.abc import Callable
from dataclasses import dataclass

from testkit.doubles.conditions import (
    BoundOperand,
    Placeholders,
    check_function,
    name_parameter,
    refuse_repeated_attributes,
    wrong_type,
)
from testkit.doubles.errors import UnsupportedRequest, validation_error
from testkit.doubles.expressions import FunctionCall, Operand, UpdateClause, parse_update
from testkit.doubles.tables import KEY_NAMES
from testkit.doubles.values import add_numbers, copy_item, copy_value, value_type
from testkit.shapes import AttributeMap, AttributeValue


@dataclass(frozen=True, slots=True)
class BoundClause:
    """One clause with its attribute and its operand bound to a request; REMOVE has no operand."""

    section: str
    attribute: str
    operand: BoundOperand | None


def bind_update(placeholders: Placeholders, text: str) -> Callable[[AttributeMap], AttributeMap]:
    """Return a function that returns the updated copy of an item."""
    with name_parameter("UpdateExpression"):
        parsed = parse_update(text)
        placeholders.use(parsed)
        clauses = [_bind_clause(placeholders, clause) for clause in parsed.tree]
        refuse_repeated_attributes(tuple(clause.attribute for clause in clauses))
    for clause in clauses:
        if clause.attribute in KEY_NAMES:
            raise validation_error(f"Cannot update attribute {clause.attribute}. It is part of the key")

    def update(before: AttributeMap) -> AttributeMap:
        after = copy_item(before)
        for clause in clauses:
            if clause.operand is None:
                after.pop(clause.attribute, None)
            else:
                after[clause.attribute] = _new_value(clause, clause.operand, before)
        return after

    return update


def _bind_clause(placeholders: Placeholders, clause: UpdateClause) -> BoundClause:
    operand = None if clause.operand is None else _bind_operand(placeholders, clause.operand)
    if clause.section == "ADD" and operand is not None:
        if operand.kind in {"SS", "NS", "BS"}:
            raise UnsupportedRequest("ADD to a set")
        if operand.kind != "N":
            raise wrong_type("ADD", operand.kind)
    return BoundClause(clause.section, placeholders.attribute(clause.name), operand)


def _bind_operand(placeholders: Placeholders, tree: Operand) -> BoundOperand:
    if not isinstance(tree, FunctionCall):
        return placeholders.operand(tree)
    check_function(tree)
    if tree.function not in _FUNCTIONS:
        raise validation_error(f"The function is not allowed in an update expression: {tree.function}")
    first, second = (_bind_operand(placeholders, operand) for operand in tree.operands)
    return _FUNCTIONS[tree.function](first, second)


def _if_not_exists(attribute: BoundOperand, default: BoundOperand) -> BoundOperand:
    if attribute.attribute is None:
        raise validation_error("Operator or function requires a document path: if_not_exists")
    return BoundOperand(lambda item: attribute.read(item) or default.read(item))


def _list_append(first: BoundOperand, second: BoundOperand) -> BoundOperand:
    for operand in (first, second):
        if operand.kind not in {None, "L"}:
            raise wrong_type("list_append", operand.kind)

    def read(item: AttributeMap) -> AttributeValue:
        lists = [_read_present(operand, item) for operand in (first, second)]
        if any(value_type(one) != "L" for one in lists):
            raise validation_error("An operand in the update expression has an incorrect data type")
        return {"L": [*lists[0]["L"], *lists[1]["L"]]}

    return BoundOperand(read, kind="L")


_FUNCTIONS: dict[str, Callable[[BoundOperand, BoundOperand], BoundOperand]] = {
    "if_not_exists": _if_not_exists,
    "list_append": _list_append,
}


def _read_present(operand: BoundOperand, item: AttributeMap) -> AttributeValue:
    value = operand.read(item)
    if value is None:
        raise validation_error(
            "The provided expression refers to an attribute that does not exist in the item"
        )
    return value


def _new_value(clause: BoundClause, operand: BoundOperand, before: AttributeMap) -> AttributeValue:
    value = _read_present(operand, before)
    stored = before.get(clause.attribute)
    if clause.section == "SET" or stored is None:
        return copy_value(value)
    if value_type(stored) != "N":
        raise validation_error("An operand in the update expression has an incorrect data type")
    return add_numbers(stored, value)
