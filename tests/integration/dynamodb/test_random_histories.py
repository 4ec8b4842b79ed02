"""Random histories are answered alike by the in-memory double and by DynamoDB Local."""

import random

import pytest
from botocore.exceptions import ClientError

from testkit.doubles.dynamodb import MemoryDynamoDB
from testkit.engines.engine import create_table
from tests.integration.dynamodb.contract_table import key, n, s
from tests.proofs import PROVE_ALL

IRRELEVANT = {"ResponseMetadata", "ConsumedCapacity"}
OPERATORS = ["=", "<>", "<", "<=", ">", ">="]


@pytest.mark.parametrize("seed", range(8 if PROVE_ALL else 3))
def test_random_history_is_answered_alike(dynamodb_local, seed):
    memory, local = MemoryDynamoDB(), dynamodb_local.client
    name = create_table(local)
    memory.add_table(name)
    rng = random.Random(seed)
    for step in range(150):
        method, request = draw_request(rng, name)
        assert answer(memory, method, request) == answer(local, method, request), (
            seed,
            step,
            method,
            request,
        )


def answer(client, method, request):
    """Return the response, or the codes and items of the error: messages may differ."""
    try:
        response = dict(getattr(client, method)(**request))
    except ClientError as error:
        found = error.response
        listed = [(one["Code"], one.get("Item")) for one in found.get("CancellationReasons", [])]
        return found["Error"]["Code"], listed, found.get("Item")
    return {name: value for name, value in response.items() if name not in IRRELEVANT}


def draw_request(rng, table):
    kind = rng.choice(["put", "update", "delete", "query", "transact", "transact"])
    if kind == "query":
        return "query", draw_query(rng, table)
    if kind != "transact":
        return f"{kind}_item", draw_write(rng, table, kind, (rng.choice("ab"), rng.choice("123")))
    keys = rng.sample([(pk, sk) for pk in "ab" for sk in "123"], rng.randint(1, 4))
    actions = [(rng.choice(["put", "update", "delete"]), chosen) for chosen in keys]
    return "transact_write_items", {
        "TransactItems": [
            {
                action.capitalize(): {
                    **draw_write(rng, table, action, chosen),
                    "ReturnValuesOnConditionCheckFailure": rng.choice(["ALL_OLD", "NONE"]),
                }
            }
            for action, chosen in actions
        ]
    }


def draw_write(rng, table, kind, chosen):
    pk, sk = chosen
    request = {"TableName": table}
    values = {}
    if kind == "put":
        attributes = {name: draw_value(rng) for name in rng.sample("xyz", rng.randint(0, 3))}
        request["Item"] = {**key(sk, pk), **attributes}
    else:
        request["Key"] = key(sk, pk)
    if kind == "update":
        # Valid for every item: AWS and DynamoDB Local answer a wrong type in a transaction differently.
        request["UpdateExpression"] = rng.choice(
            [
                "SET x = :u",
                "SET x = if_not_exists(x, :u)",
                "REMOVE y SET x = :u",
                "ADD w :u",
                "SET z = :u ADD w :u",
            ]
        )
        values[":u"] = n(rng.randint(-3, 3))
    if rng.random() < 0.7:
        request["ConditionExpression"] = draw_condition(rng, values, depth=2)
    if values:
        request["ExpressionAttributeValues"] = values
    return request


def draw_query(rng, table):
    values = {":p": s(rng.choice("ab"))}
    condition = "PK = :p"
    if rng.random() < 0.6:
        condition += rng.choice([" AND SK = :s", " AND begins_with(SK, :s)", " AND SK BETWEEN :l AND :h"])
        low, high = sorted(rng.choices("0123", k=2))
        # Bounds between two keys, since the engines differ about a page that ends at a bound.
        bounds = {":s": s(low), ":l": s(f"{low}x"), ":h": s(f"{high}x")}
        values |= {name: bound for name, bound in bounds.items() if name in condition}
    request = {"TableName": table, "ScanIndexForward": rng.random() < 0.5}
    if rng.random() < 0.5:
        request["FilterExpression"] = draw_condition(rng, values, depth=1)
    if rng.random() < 0.5:
        request["Limit"] = rng.randint(1, 3)
    return {**request, "KeyConditionExpression": condition, "ExpressionAttributeValues": values}


def draw_condition(rng, values, depth):
    if depth and rng.random() < 0.4:
        parts = [draw_condition(rng, values, depth - 1) for _ in range(2)]
        return f"({parts[0]}) {rng.choice(['AND', 'OR'])} NOT ({parts[1]})".replace("((", "( (")
    name, other = rng.sample("wxyz", 2)
    shape = rng.choice(["exists({})", "not_exists({})", "compare", "pair", "contains", "begins_with"])
    if "exists" in shape:
        return f"attribute_{shape.format(name)}"
    operator = rng.choice(OPERATORS)
    if shape == "pair":
        return f"{name} {operator} {other}"
    placeholder = f":v{len(values)}"
    values[placeholder] = draw_value(rng)
    if shape == "compare":
        return f"{name} {operator} {placeholder}"
    return f"{shape}({name}, {placeholder})"


def draw_value(rng):
    return rng.choice(
        [
            n(rng.randint(-3, 3)),
            n(f"{rng.randint(0, 30) / 10}"),
            s(rng.choice(["", "a", "ab", "b", "é"])),
            {"BOOL": rng.random() < 0.5},
            {"NULL": True},
            {"L": [n(1), s("a")]},
            {"M": {"k": s("a")}},
        ]
    )
