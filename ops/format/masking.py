"""What never leaves the command: keys at all, e-mail addresses unless asked for."""

import re

# Wider than any address: all that stands around an @ up to what separates words, keys and JSON here.
_EMAIL = re.compile(r"""([^\s#/@"`,;:|()\[\]{}<>])[^\s#/@"`,;:|()\[\]{}<>]*@[^\s#/@"'`,;:|()\[\]{}<>]+""")
_STRIPE_KEY = re.compile(r"\b(sk|rk|whsec)_(?:(live|test)_)?[A-Za-z0-9]{4,}\b")


def mask_keys(text: str) -> str:
    """`sk_live_…` instead of a Stripe key."""
    return _STRIPE_KEY.sub(lambda match: f"{match[1]}_{match[2] + '_' if match[2] else ''}…", text)


def mask_emails(text: str) -> str:
    """`j…@…` instead of an e-mail address: enough to tell two customers of one screen apart, mostly."""
    return _EMAIL.sub(r"\1…@…", text)
