"""The table of the DynamoDB contract tests, and short forms of the requests that they send."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.exceptions import ClientError

from testkit.doubles.dynamodb import MemoryDynamoDB
from testkit.engines.engine import create_table


class ContractTable:
    """One new table. Every method but `holds` returns the response."""

    def __init__(self, client):
        self.client = client
        if isinstance(client, MemoryDynamoDB):
            self.name = "commerce"
            client.add_table(self.name)
        else:
            self.name = create_table(client)

    def put(self, sk="1", /, *, pk="a", request: Mapping[str, Any] | None = None, **attributes):
        return self.client.put_item(
            TableName=self.name, Item={**key(sk, pk), **attributes}, **(request or {})
        )

    def get(self, sk="1", pk="a", **request):
        """Return the item or None."""
        wanted = {"TableName": self.name, "Key": key(sk, pk), "ConsistentRead": True}
        return self.client.get_item(**wanted, **request).get("Item")

    def update(self, expression, sk="1", /, **request):
        return self.client.update_item(
            TableName=self.name, Key=key(sk), UpdateExpression=expression, **placeholders(**request)
        )

    def delete(self, sk="1", **request):
        return self.client.delete_item(TableName=self.name, Key=key(sk), **placeholders(**request))

    def holds(self, condition, values=None, names=None):
        """Return whether a condition holds for the item with sort key 1, which is deleted if it does."""
        try:
            self.delete(ConditionExpression=condition, values=values, names=names)
        except self.client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def query(self, condition="PK = :p", values=None, **request):
        return self.client.query(
            TableName=self.name,
            KeyConditionExpression=condition,
            ExpressionAttributeValues={":p": s("a"), **(values or {})},
            ConsistentRead=True,
            **request,
        )

    def get_many(self, *keys, **request):
        return self.client.batch_get_item(RequestItems={self.name: {"Keys": list(keys), **request}})

    def transact(self, *actions, **request):
        return self.client.transact_write_items(TransactItems=list(actions), **request)

    # Actions of a transaction

    def put_action(self, sk, *, request: Mapping[str, Any] | None = None, **attributes):
        return {"Put": {"TableName": self.name, "Item": {**key(sk), **attributes}, **(request or {})}}

    def update_action(self, expression, sk, **request):
        update = {"UpdateExpression": expression, **placeholders(**request)}
        return {"Update": {"TableName": self.name, "Key": key(sk), **update}}

    def delete_action(self, sk, **request):
        return {"Delete": {"TableName": self.name, "Key": key(sk), **request}}

    def check_action(self, condition, sk):
        check = {"TableName": self.name, "Key": key(sk), "ConditionExpression": condition}
        return {"ConditionCheck": check}


def s(text):
    return {"S": text}


def n(number):
    return {"N": str(number)}


def key(sk, pk="a"):
    return {"PK": s(pk), "SK": s(sk)}


def placeholders(values=None, names=None, **request):
    given = {"ExpressionAttributeValues": values, "ExpressionAttributeNames": names}
    return request | {name: value for name, value in given.items() if value is not None}


@contextmanager
def refused(code="ValidationException") -> Iterator[pytest.ExceptionInfo[ClientError]]:
    with pytest.raises(ClientError) as raised:
        yield raised
    assert raised.value.response["Error"]["Code"] == code


def reasons(raised):
    """Return the cancellation reasons of a transaction."""
    return list(raised.value.response["CancellationReasons"])


def sort_keys(response):
    return [item["SK"]["S"] for item in response["Items"]]
