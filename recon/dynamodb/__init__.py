"""The ledger: the only place that knows the table's keys, and the only one that writes it.

table.py       DynamoDB for this project: typed values, errors of ours, transactions repeated safely
records.py     keys and attributes of what the sync keeps: state, run, outcome
orders.py      finding the orders of a user
counters.py    how the counters of a run and of the state move
outcomes.py    committing what became of sessions: outcomes, orders and counters in one transaction
dismissals.py  an operator's decision that a failed session counts as skipped
runs.py        the life of a run: started, listed, done or failed
"""
