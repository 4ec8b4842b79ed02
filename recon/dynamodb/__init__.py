"""The ledger: the only package that knows the keys of the tables, and the only one that writes them.

attribute_values.py  plain values to DynamoDB's typed values and back
table.py             reads, and transactions that are safe to repeat
item_size.py         the size of an item as DynamoDB counts it
keys.py              the keys of all items besides the orders
records.py           the records parsed from items: sync state, runs, outcomes
order_lookup.py      finding the orders of sessions, in this system's layout or another shop's
user_orders.py       finding the orders of a user, as this system's layout has them
run_reader.py        reading the records of runs
runs.py              writing the records of runs, from start to end
state_actions.py     the updates of the sync state that go with them
outcomes.py          reading outcomes
session_result.py    the result of one session, and the items that store it
order_write.py       writing an order: its put, its guard and the check for a dismissal, with their conditions
outcome_writer.py    committing results: outcomes, orders and counters in one transaction
counters.py          the counters of a run and of the sync state
attention.py         what a person has to look at about a session
guards.py            the record that this sync has written an order once
markers.py           reading and writing the webhook's markers of events that it has handled
watermark.py         the watermark, and which stack the ledger belongs to
ledger_table.py      checking that the ledger is in the table that the settings name
ledger_move.py       moving the ledger to another table
dismissals.py        an operator's decision that no order of a session is ever written
"""
