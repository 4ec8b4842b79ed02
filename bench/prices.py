"""The list prices of AWS in us-east-1, in US dollars, without free tiers and discounts.

As of November 2026; AWS changes them, and other regions cost up to a third more. Check the pages before you
rely on a number, and change it here: `make cost` regenerates the tables.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

MILLION, GB = 1_000_000, 1_000_000_000
_PAGE = "https://aws.amazon.com/{}/pricing/"


@dataclass(frozen=True)
class Price:
    """The price of `per` units. If `monthly`, it is for a month rather than for the use itself."""

    service: str
    unit: str
    usd: float
    per: float
    page: str
    monthly: bool = False

    def of(self, units: float) -> float:
        return units * self.usd / self.per


def _price(service: str, unit: str, usd: float, per: float, page: str, *, monthly: bool = False) -> Price:
    return Price(service, unit, usd, per, _PAGE.format(page), monthly)


# What AWS charges nothing for in a month, of every account and for good: https://aws.amazon.com/free/
FREE: Mapping[str, float] = MappingProxyType(
    {
        "queue_requests": 1_000_000,
        "invocations": 1_000_000,
        "gb_seconds": 400_000,
        "traces": 100_000,
        "log_bytes": 5 * 1_000_000_000,
        "log_bytes_kept": 5 * 1_000_000_000,
        "metric_hours": 10 * 720,
        "alarm_metrics": 10,
        "dashboards": 3,
        "schedules": 14_000_000,
        "decryptions": 20_000,
        "bytes_out": 100 * 1_000_000_000,
    }
)

PRICES: Mapping[str, Price] = MappingProxyType(
    {
        "read_units": _price("DynamoDB", "read request units, on demand", 0.125, MILLION, "dynamodb"),
        "write_units": _price("DynamoDB", "write request units, on demand", 0.625, MILLION, "dynamodb"),
        "stored_bytes": _price("DynamoDB", "bytes stored", 0.25, GB, "dynamodb", monthly=True),
        "queue_requests": _price("SQS", "requests of a standard queue", 0.40, MILLION, "sqs"),
        "invocations": _price("Lambda", "invocations", 0.20, MILLION, "lambda"),
        "gb_seconds": _price("Lambda", "GB-seconds on arm64", 0.0000133334, 1, "lambda"),
        "traces": _price("X-Ray", "traces recorded", 5.00, MILLION, "xray"),
        "log_bytes": _price("CloudWatch Logs", "bytes taken in", 0.50, GB, "cloudwatch"),
        "log_bytes_kept": _price("CloudWatch Logs", "bytes kept", 0.03, GB, "cloudwatch", monthly=True),
        "metric_hours": _price("CloudWatch", "metric hours", 0.30, 720, "cloudwatch"),
        "alarm_metrics": _price("CloudWatch", "metrics of alarms", 0.10, 1, "cloudwatch", monthly=True),
        "composite_alarms": _price("CloudWatch", "composite alarms", 0.50, 1, "cloudwatch", monthly=True),
        "dashboards": _price("CloudWatch", "dashboards", 3.00, 1, "cloudwatch", monthly=True),
        "schedules": _price("EventBridge Scheduler", "invocations", 1.00, MILLION, "eventbridge"),
        "decryptions": _price("KMS", "requests", 0.03, 10_000, "kms"),
        "bytes_out": _price("Data transfer", "bytes to the internet", 0.09, GB, "ec2/on-demand"),
    }
)
