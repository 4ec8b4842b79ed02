"""Amounts as people read them. Everywhere else they stay integers in the currency's smallest unit."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

# Decimals of an amount in Stripe's API, https://docs.stripe.com/currencies#minor-units. Not ISO 4217's in
# every case: ISK and UGX have none in practice, and the API still counts them in hundredths.
_ZERO_DECIMALS = frozenset(
    {"bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf"}
)
_THREE_DECIMALS = frozenset({"bhd", "jod", "kwd", "omr", "tnd"})
_USUAL_DECIMALS = 2


@dataclass(frozen=True, order=True)
class Money:
    """`amount` in the smallest unit of `currency`, a code in lower case."""

    currency: str
    amount: int

    def __str__(self) -> str:
        """`1,234.50 USD`, `1,980 JPY`."""
        sign = "-" if self.amount < 0 else ""
        decimals = count_decimals(self.currency)
        # By whole numbers: a float would lose units of a large amount.
        whole, rest = divmod(abs(self.amount), 10**decimals)
        fraction = f".{rest:0{decimals}}" if decimals else ""
        return f"{sign}{whole:,}{fraction} {self.currency.upper()}"


def count_decimals(currency: str) -> int:
    """How many digits of an amount stand behind the point."""
    code = currency.lower()
    if code in _ZERO_DECIMALS:
        return 0
    return 3 if code in _THREE_DECIMALS else _USUAL_DECIMALS


def totals(amounts: Iterable[Money]) -> list[Money]:
    """One sum for each currency, by its code. Currencies are never added up: there is no common unit."""
    sums: defaultdict[str, int] = defaultdict(int)
    for money in amounts:
        sums[money.currency] += money.amount
    return sorted(Money(currency, amount) for currency, amount in sums.items())
