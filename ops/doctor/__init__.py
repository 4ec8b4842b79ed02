"""The check of a deployed stack: each possible fault is a finding with the command that fixes it.

shell.py        the commands of a fix, with the options that select this stack
finding.py      the finding of one check
fetched.py      facts that may be unavailable, and the findings that follow from that
facts.py        the facts that the checks read
collect.py      reads all facts from AWS and Stripe, one call each; writes nothing
permissions.py  what the Stripe key is and may read
checks/         pure functions from facts to findings
diagnosis.py    all checks over all facts
"""
