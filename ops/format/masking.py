"""Masking of Stripe keys and e-mail addresses in the output of the command."""

import re

# Deliberately wider than a valid address: everything around an @ up to the next separator.
_EMAIL = re.compile(r"""([^\s#/@"`,;:|()\[\]{}<>])[^\s#/@"`,;:|()\[\]{}<>]*@[^\s#/@"'`,;:|()\[\]{}<>]+""")
_STRIPE_KEY = re.compile(r"\b(sk|rk|whsec)_(?:(live|test)_)?[A-Za-z0-9]{4,}\b")


def mask_keys(text: str) -> str:
    """Replace Stripe keys by their prefix, such as `sk_live_…`."""
    return _STRIPE_KEY.sub(lambda match: f"{match[1]}_{match[2] + '_' if match[2] else ''}…", text)


def mask_emails(text: str) -> str:
    """Replace e-mail addresses by `j…@…`. The first letter usually tells customers apart."""
    return _EMAIL.sub(r"\1…@…", text)
