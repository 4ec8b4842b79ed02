"""The engines that the DynamoDB contract tests run on, and their known deviations from AWS.

The in-memory double has to pass every test: it follows AWS where the others do not. Where another engine is
known to answer differently, the test must fail, so that a change of the engine is noticed.
"""

from collections.abc import Iterator

import pytest

from testkit.engines.engine import EMULATOR, LOCAL, MEMORY, Engine, EngineUnavailable, start_dynamodb
from tests.integration.dynamodb.contract_table import ContractTable

# Requests that the emulator accepts although AWS refuses them, by test and case.
_ACCEPTED = {
    "test_invalid_value_is_refused": ["empty name", "64 KB name"],
    "test_wrong_condition_is_refused": [
        "amount = amount",
        "a-b = :v",
        "_a = :v",
        "amount < :v",
        "Attribute_Exists(a)",
        "exists_at_all(a)",
        "begins_with(amount, :v)",
    ],
    "test_wrong_update_is_refused": [
        "SET",
        "SET a = :v, a = :v",
        "SET a = :v SET b = :v",
        "SET a = list_append(a, :v)",
        "SET a = if_not_exists(:v, :v)",
    ],
    "test_wrong_projection_is_refused": ["empty"],
    "test_wrong_key_condition_is_refused": [
        "PK = :p OR SK = :p",
        "PK = :p AND SK <> :p",
        "PK = :p AND SK = PK",
    ],
}

# By test, or by test and case.
DEVIATIONS = {
    MEMORY: {},
    LOCAL: {
        "test_update_of_wrong_type_is_a_reason": "refuses the whole request without reasons",
        "test_convert_is_reserved": "does not know the word",
    },
    EMULATOR: {
        **{f"{test}[{case}]": "accepts it" for test, cases in _ACCEPTED.items() for case in cases},
        "test_half_a_surrogate_pair_is_text": "fails",
        "test_filter_cannot_name_a_key": "accepts it",
        "test_action_is_exactly_one_kind": "accepts it",
        "test_reserved_words_are_refused": "accepts `remove`",
        "test_condition_result[nope = nothing]": "treats two missing attributes as equal",
        "test_condition_result[begins_with(amount, :v)]": "refuses a number's attribute",
        "test_wrong_expression_in_transaction_has_no_reasons": "cancels with reasons",
    },
}


@pytest.fixture(scope="session", params=[MEMORY, LOCAL, EMULATOR])
def engine(request) -> Iterator[Engine]:
    if request.param == LOCAL:
        yield request.getfixturevalue("dynamodb_local")
        return
    try:
        started = start_dynamodb(request.param)
    except EngineUnavailable as reason:
        pytest.skip(str(reason))
    yield started
    started.stop()


@pytest.fixture(scope="session")
def dynamodb_local(real_engine) -> Engine:
    """Return the engine that all tests of this worker share."""
    if real_engine.name != LOCAL:
        pytest.skip("DynamoDB Local cannot run here")
    return real_engine


@pytest.fixture
def table(request, engine) -> ContractTable:
    engine.expect(request, DEVIATIONS)
    return ContractTable(engine.client)


@pytest.fixture
def orders(table) -> ContractTable:
    """Return a table with five items of one user and one of another."""
    for sk in ("ORDER#1", "ORDER#2", "ORDER#20", "ORDER#3", "PROFILE"):
        table.put(sk, amount={"N": str(len(sk))})
    table.put("ORDER#1", pk="b")
    return table
