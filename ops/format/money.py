"""Amounts in the form that people read. Everywhere else they are integers in the currency's smallest unit.

Three things differ: a free order has the amount 0, an unknown amount is None, and `NO_AMOUNT` says that there
is none, as for a session that sells nothing.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from recon.domain.message import SessionMessage
from recon.domain.stripe_objects import SETUP
from recon.domain.table_decision import amount_and_currency

FREE, UNKNOWN, NOTHING = "free", "unknown", "none"

# Decimals of an amount in Stripe's API, https://docs.stripe.com/currencies#minor-units. They differ from
# ISO 4217: ISK and UGX have no decimals in practice, and the API still counts them in hundredths.
_ZERO_DECIMALS = frozenset(
    {"bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf"}
)
_THREE_DECIMALS = frozenset({"bhd", "jod", "kwd", "omr", "tnd"})
_DEFAULT_DECIMALS = 2
# The symbols of CLDR's locale `en`, which tell the dollars apart. It shows other currencies by their code.
# https://github.com/unicode-org/cldr/blob/main/common/main/en.xml
_SYMBOLS = MappingProxyType(
    {"usd": "$", "eur": "€", "gbp": "£", "jpy": "¥", "aud": "A$", "brl": "R$", "cad": "CA$", "cny": "CN¥"}
    | {"hkd": "HK$", "ils": "₪", "inr": "₹", "krw": "₩", "mxn": "MX$", "nzd": "NZ$", "php": "₱"}
    | {"twd": "NT$", "vnd": "₫", "xaf": "FCFA", "xcd": "EC$", "xof": "F\N{NO-BREAK SPACE}CFA", "xpf": "CFPF"}
)


@dataclass(frozen=True, order=True)
class Money:
    """An amount in the smallest unit of `currency`, a lower-case code. A free one may have none."""

    currency: str
    amount: int

    def __str__(self) -> str:
        """Format the amount as `1,234.50 USD` or `1,980 JPY`."""
        if not self.currency:
            return FREE
        return f"{self._sign}{self._digits} {self.currency.upper()}"

    @property
    def with_symbol(self) -> str:
        """Return the amount as `$1,234.50`, `¥1,980` or `CHF 5.00`, without a break after the code."""
        if not self.currency:
            return FREE
        code = self.currency.lower()
        symbol = _SYMBOLS.get(code, code.upper())
        space = "\N{NO-BREAK SPACE}" if symbol[-1].isalpha() else ""
        return f"{self._sign}{symbol}{space}{self._digits}"

    @property
    def _sign(self) -> str:
        return "-" if self.amount < 0 else ""

    @property
    def _digits(self) -> str:
        decimals = count_decimals(self.currency)
        # Integer arithmetic, because a float would lose units of a large amount.
        whole, rest = divmod(abs(self.amount), 10**decimals)
        return f"{whole:,}" + (f".{rest:0{decimals}}" if decimals else "")


@dataclass(frozen=True)
class NoAmount:
    """The absence of an amount: nothing is sold. It is false, as None is, so that sums leave both out."""

    def __bool__(self) -> Literal[False]:
        """Return False."""
        return False


NO_AMOUNT = NoAmount()
# None is an unknown amount.
type Amount = Money | NoAmount | None


def read_amount(message: SessionMessage) -> Amount:
    """Return the amount of a session from its message, as Stripe states it."""
    amount, currency = amount_and_currency(message)
    # A session that only saves a payment method sells nothing.
    return NO_AMOUNT if message.amount_total is None and message.mode == SETUP else to_money(amount, currency)


def to_money(amount: object, currency: object) -> Money | None:
    """Return a stored amount, or None if it is unknown. Nothing is free in any currency."""
    if not isinstance(amount, int) or isinstance(amount, bool):
        return None
    if not isinstance(currency, str) or not currency:
        return Money("", 0) if amount == 0 else None
    return Money(currency.lower(), amount)


def format_price(amount: Amount, form: Callable[[Money], str] = str) -> str:
    """Return the amount of one session or order, or `free`, `unknown` or `none`."""
    match amount:
        case None:
            return UNKNOWN
        case NoAmount():
            return NOTHING
    return form(amount) if amount.amount else FREE


def format_worth(money: Iterable[Money], unknown: int, form: Callable[[Money], str] = str) -> str:
    """Return what several sessions are worth, such as `5.00 USD, 1 unknown`; empty if there are none.

    `money` has one sum per currency, `unknown` counts the sessions whose amount is not known.
    """
    sums = list(money)
    known = [form(one) for one in sums if one.amount] or [FREE] * bool(sums)
    return ", ".join([*known, *([f"{unknown:,} {UNKNOWN}"] if unknown else [])])


def count_decimals(currency: str) -> int:
    """Return the number of decimals of an amount."""
    code = currency.lower()
    if code in _ZERO_DECIMALS:
        return 0
    return 3 if code in _THREE_DECIMALS else _DEFAULT_DECIMALS


def totals(amounts: Iterable[Money]) -> list[Money]:
    """Return one sum per currency, sorted by its code. Free ones without a currency count if all are free."""
    sums: defaultdict[str, int] = defaultdict(int)
    for money in amounts:
        sums[money.currency] += money.amount
    if len(sums) > 1:
        sums.pop("", None)
    return sorted(Money(currency, amount) for currency, amount in sums.items())
