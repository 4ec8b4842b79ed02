"""One session explained: everything known of it, why it is as it is, and what comes next.

facts.py          what is known, as frozen values
gather.py         asks Stripe, the table, the dead-letter queue and the schedule; writes nothing
at_stripe.py      what Stripe says of the session and of its events
in_table.py       what the table holds of it
coming.py         pure: whether the next run looks at it, and what that will do
cause.py          pure: what the events say of the webhook
to_skip.py        pure: for one that is left alone by design
with_order.py     pure: the sentences for a session whose order is there
without_order.py  pure: the sentences for one whose order is not
said.py           the rows of the decision table
verdict.py        pure: the facts become one verdict
"""
