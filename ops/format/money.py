"""Amounts in the form that people read. Everywhere else they are integers in the currency's smallest unit."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

# Decimals of an amount in Stripe's API, https://docs.stripe.com/currencies#minor-units. They differ from
# ISO 4217: ISK and UGX have no decimals in practice, and the API still counts them in hundredths.
_ZERO_DECIMALS = frozenset(
    {"bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf"}
)
_THREE_DECIMALS = frozenset({"bhd", "jod", "kwd", "omr", "tnd"})
_DEFAULT_DECIMALS = 2


@dataclass(frozen=True, order=True)
class Money:
    """An amount in the smallest unit of `currency`, a lower-case code."""

    currency: str
    amount: int

    def __str__(self) -> str:
        """Format the amount as `1,234.50 USD` or `1,980 JPY`."""
        sign = "-" if self.amount < 0 else ""
        decimals = count_decimals(self.currency)
        # Integer arithmetic, because a float would lose units of a large amount.
        whole, rest = divmod(abs(self.amount), 10**decimals)
        fraction = f".{rest:0{decimals}}" if decimals else ""
        return f"{sign}{whole:,}{fraction} {self.currency.upper()}"


def count_decimals(currency: str) -> int:
    """Return the number of decimals of an amount."""
    code = currency.lower()
    if code in _ZERO_DECIMALS:
        return 0
    return 3 if code in _THREE_DECIMALS else _DEFAULT_DECIMALS


def totals(amounts: Iterable[Money]) -> list[Money]:
    """Return one sum per currency, sorted by its code."""
    sums: defaultdict[str, int] = defaultdict(int)
    for money in amounts:
        sums[money.currency] += money.amount
    return sorted(Money(currency, amount) for currency, amount in sums.items())
