"""The rules of the parameters: the template's, those of schedules, and of the pace of consumers."""

import re
from dataclasses import replace

import pytest

from infra.deploy.parameter_rules import find_problem, find_slow_share
from infra.deploy.template import TemplateParameter
from tests.infra.deploy.recorded import RAW, SETTINGS, TEMPLATE


def test_template_is_read_as_cloudformation_reads_it():
    assert TEMPLATE.parameters.keys() == RAW["Parameters"].keys()
    for name, raw in RAW["Parameters"].items():
        read = TEMPLATE.parameters[name]
        assert read.default == (str(raw["Default"]) if "Default" in raw else None)
        assert (read.pattern, list(read.allowed)) == (
            raw.get("AllowedPattern"),
            [str(one) for one in raw.get("AllowedValues", [])],
        )
        limits = (raw.get("MinValue"), raw.get("MaxValue"), raw.get("MaxLength"))
        assert (read.minimum, read.maximum, read.max_length) == limits
        assert read.default is None or read.find_problem(read.default) is None
    retained = {name for name, one in RAW["Resources"].items() if "Retain" in one.get("DeletionPolicy", "")}
    assert TEMPLATE.retained == retained


@pytest.mark.parametrize(
    ("rules", "value", "problem"),
    [
        ({"pattern": "/.+", "constraint": "must start with a slash"}, "key", "A must start with a slash"),
        ({"pattern": "[a-z]+"}, "a1", "A must match [a-z]+"),
        ({"pattern": "[a-z]+"}, "a", None),
        ({"allowed": ("x", "y")}, "z", "A must be one of x, y"),
        ({"is_number": True, "minimum": 1}, "0", "A must be 1 or more"),
        ({"is_number": True, "maximum": 5}, "6", "A must be 5 or less"),
        *(
            ({"is_number": True}, value, "A must be a whole number")
            for value in ("many", "1.5", "1e2", "nan", "")
        ),
        ({"default": "UTC"}, "", "A must not be empty"),
        ({"default": ""}, "", None),
        ({"max_length": 3}, "abcd", "A must be 3 characters or fewer"),
        ({"max_length": 3}, "abc", None),
        ({"is_number": True, "minimum": 1, "maximum": 5}, "5", None),
    ],
)
def test_parameter_value_is_checked_by_the_template_rules(rules, value, problem):
    parameter = TemplateParameter(**{"name": "A", "description": "", "default": None} | rules)
    assert parameter.find_problem(value) == problem


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("SessionFilter", "", None),
        ("SessionFilter", ' !payment_link metadata.shop="My shop"', None),
        ("SessionFilter", '"metadata.shop=My shop"', None),
        ("SessionFilter", "success_url^=https://shop.example/", None),
        ("SessionFilter", "mode shop=a", "the condition 'shop=a' is wrong"),
        ("SessionFilter", "modes", "the condition 'modes' is wrong"),
        ("UserIdSources", "client_reference_id, metadata.my id", None),
        ("UserIdSources", "email", "'email' is no source"),
        ("EmailCase", "LOWER", "must be one of keep, lower"),
        ("OrderSortKey", "ulid", "must be one of epoch, any"),
    ],
)
def test_filter_and_sources_are_checked_as_the_functions_do(name, value, problem):
    parameter = TEMPLATE.parameters[name]
    found = parameter.find_problem(value)
    assert (found is None) if problem is None else found.startswith(name) and problem in found
    if problem is None and parameter.pattern:
        assert re.fullmatch(parameter.pattern, value)


@pytest.mark.parametrize(
    ("name", "value", "is_valid"),
    [
        *(("AlarmEmail", value, True) for value in ("", "ops@example.com", "a.b+c@sub.example.co")),
        *(
            ("AlarmEmail", value, False)
            for value in ("ops", "ops@example", "a@b.c,d@e.f", "A <a@b.c>", " a@b.c", "a@b.c.", "a@@b.c")
        ),
        *(
            ("ScheduleExpression", value, True)
            for value in (
                "cron(0 2 * * ? *)",
                "cron(30 1 ? * MON-FRI *)",
                "cron(0 2 L * ? *)",
                "cron(0 0/6 * * ? *)",
                "rate(1 day)",
                "rate(12 hours)",
                "at(2026-01-31T02:00:00)",
            )
        ),
        *(
            ("ScheduleExpression", value, False)
            for value in (
                "",
                "0 2 * * *",
                "cron(0 2 * * *)",
                "cron(0 25 * * ? *)",
                "cron(60 2 * * ? *)",
                "cron(0 2 32 * ? *)",
                "cron(0 2 * * * *)",
                "cron(0 2 ? ? ? *)",
                "cron(0 2 * 13 ? *)",
                "cron(0 2 ? * 8 *)",
                "cron(0 2 * * ? 1950)",
                "cron(0 2 * * ? *",
                "rate(0 days)",
                "rate(day)",
                "rate(1 week)",
                "at(2026-01-31)",
                "every day",
            )
        ),
        *(
            ("ScheduleTimezone", value, True)
            for value in ("UTC", "Europe/Berlin", "America/Argentina/Ushuaia")
        ),
        *(
            ("ScheduleTimezone", value, False)
            for value in (
                "",
                "Berlin",
                "europe/berlin",
                "UTC+1",
                "Factory",
                "Europe/Atlantis",
                "Europe/Berlin ",
            )
        ),
    ],
)
def test_address_schedule_and_time_zone_are_checked(name, value, is_valid):
    problem = find_problem(TEMPLATE.parameters[name], value)
    assert (problem is None) is is_valid
    assert is_valid or problem.startswith(name)


def test_misspelt_time_zone_has_a_suggestion():
    problem = find_problem(TEMPLATE.parameters["ScheduleTimezone"], "europe/berlin")
    assert problem.endswith("did you mean Europe/Berlin?")


@pytest.mark.parametrize(
    ("parameters", "numbers", "rule"),
    [
        ({"StripeMaxRps": "2"}, "2 and 5", "at least 3, or the second at most 3"),
        ({"ConsumerConcurrency": "40"}, "12 and 40", "at least 24, or the second at most 20"),
    ],
)
def test_pace_that_leaves_a_consumer_too_little_is_refused(parameters, numbers, rule):
    wrong = replace(SETTINGS, parameters={**SETTINGS.parameters, **parameters})
    assert find_slow_share(wrong, TEMPLATE) == (
        f"StripeMaxRps and ConsumerConcurrency are {numbers}, and the first must be at least 0.6 times the "
        f"second: {rule}"
    )
