"""The explanation of one session: what is known, why it is so, and what happens next.

facts.py                what is known, as frozen values
ids.py                  session ids, and the message for an unknown one
references.py           what an operator may type instead of a session id
find_session.py         finds the one session that a reference names
at_stripe.py            what Stripe knows of the session and its events
in_table.py             what the table holds of it
gather.py               reads Stripe, the table, the dead-letter queue and the schedule; writes nothing
next_run.py             whether the next run processes it, and the sentence about that
payment_words.py        sentences about a payment that is held, failed, disputed or refunded in part
webhook_diagnosis.py    why the webhook's order is missing, from the session's events
verdict_types.py        the rows of the decision table
rules_order_found.py    rules for sessions whose order exists
rules_order_missing.py  rules for sessions whose order does not exist
rules_skipped.py        rules for sessions that the consumer skips
verdict.py              the first rule that applies gives the verdict
"""
