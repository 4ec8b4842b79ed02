"""`python -m sandbox.demo`: the whole pipeline on this machine, step by step.

options.py          the command line
services.py         the emulated AWS and the fake Stripe: start, find, stop
stripe_process.py   the fake Stripe as a process that ends with its parent
state.py            the state of a kept sandbox: .sandbox/state.json
screen.py           the output on the terminal: steps, tables, a progress bar
findings.py         the results of a run, read with plain boto3
scenes.py           the steps that both stories share: run, follow, summary, check
shop_story.py       a generated shop that lost orders, and their recovery
layout_story.py     a shop with its own layout, whose missing orders the sync tells
operator_calls.py   commands of nightly-sync, called in this process
account_story.py    the same run with the user's own Stripe test account
look_around.py      the `aws` commands for a kept sandbox
"""
