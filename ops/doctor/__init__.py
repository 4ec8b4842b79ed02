"""What could be wrong with a deployed stack, looked at piece by piece, each with the command that mends it.

`read` asks AWS and Stripe, and notes what it may not ask; the modules of checks are pure functions from these
facts to findings; `diagnosis` puts them together.
"""
