"""`python -m sandbox.demo`: the whole pipeline on this machine, told step by step.

options.py          the command line
services.py         the emulated AWS and the fake Stripe: started, found again, ended
stripe_process.py   the fake Stripe as a process that ends with whoever started it
state.py            what a kept sandbox is: .sandbox/state.json
screen.py           what the terminal shows: steps, tables, a live bar
findings.py         what the table holds after a run, read with plain boto3
scenes.py           the steps that both stories share: run, follow, summary, check
shop_story.py       a made-up shop that has lost orders, and how it gets them back
account_story.py    the same run over the user's own Stripe test account
look_around.py      the `aws` commands for a sandbox that is left up
"""
