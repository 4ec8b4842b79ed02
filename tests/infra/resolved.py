"""The template as CloudFormation resolves it for a deployment: parameters inserted, functions evaluated."""

import re

from infra.build import ROOT
from testkit.template import parse_template

PATH = ROOT / "infra" / "template.yaml"
TEMPLATE = parse_template(PATH.read_text())
RESOURCES = TEMPLATE["Resources"]
PARAMETERS = TEMPLATE["Parameters"]
STACK = "stripe-nightly-sync"
REQUIRED = {"CommerceTable": "shop", "StripeSecretParameter": "/shop/stripe-key"}
PSEUDO = {
    "AWS::StackName": STACK,
    "AWS::Region": "eu-central-1",
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::NoValue": None,
}
NAMES = ("FunctionName", "QueueName", "AlarmName", "LogGroupName", "DashboardName", "TableName", "Name")
_PLACEHOLDER = re.compile(r"\$\{([^}]+)\}")


class ResolvedTemplate:
    """The template for the given parameters: `ResolvedTemplate(ScheduleState="DISABLED")`.

    All other parameters have their defaults.
    """

    def __init__(self, **parameters):
        assert parameters.keys() <= PARAMETERS.keys(), parameters
        defaults = {name: str(body["Default"]) for name, body in PARAMETERS.items() if "Default" in body}
        self.parameters = defaults | REQUIRED | parameters

    def properties(self, name):
        return self.value(RESOURCES[name]["Properties"])

    def of_type(self, kind):
        names = [name for name, body in RESOURCES.items() if body["Type"] == kind]
        return {name: self.properties(name) for name in names}

    def value(self, value):  # noqa: PLR0911 - a case for each function
        """Return a value of the template with everything in it resolved and AWS::NoValue removed."""
        match value:
            case {"Ref": name}:
                return self._ref(name)
            case {"Fn::GetAtt": [name, attribute]}:
                return self._attribute(name, attribute)
            case {"Fn::Sub": [text, own]}:
                return self._substitute(text, self.value(own))
            case {"Fn::Sub": text}:
                return self._substitute(text, {})
            case {"Fn::If": [condition, yes, no]}:
                return self.value(yes if self.holds(condition) else no)
            case {"Fn::FindInMap": [name, key, second]}:
                return TEMPLATE["Mappings"][name][self.value(key)][second]
            case dict():
                found = {str(key): self.value(part) for key, part in value.items()}
                return {key: part for key, part in found.items() if part is not None}
            case list():
                return [found for part in value if (found := self.value(part)) is not None]
            case _:
                return value

    def holds(self, condition):
        match TEMPLATE["Conditions"][condition] if isinstance(condition, str) else condition:
            case {"Fn::Not": [inner]}:
                return not self.holds(inner)
            case {"Fn::And": inner}:
                return all(map(self.holds, inner))
            case {"Fn::Equals": [left, right]}:
                return self.value(left) == self.value(right)

    def _ref(self, name):
        if name in RESOURCES:
            body = RESOURCES[name]["Properties"]
            return next((self.value(body[kind]) for kind in NAMES if kind in body), f"arn:{name}")
        return (PSEUDO | self.parameters)[name]

    def _attribute(self, name, attribute):
        body = RESOURCES[name]["Properties"]
        return self.value(body[attribute]) if attribute in body else f"arn:{name}"

    def _substitute(self, text, own):
        def replace(placeholder):
            name = placeholder[1]
            if name in own:
                return own[name]
            resource, _, attribute = name.partition(".")
            return str(self._attribute(resource, attribute) if attribute else self._ref(name))

        return _PLACEHOLDER.sub(replace, text)


DEFAULT = ResolvedTemplate()
ALARMS = {
    body["AlarmName"].removeprefix(f"{STACK}-"): body
    for body in DEFAULT.of_type("AWS::CloudWatch::Alarm").values()
}
[COMPOSITE] = DEFAULT.of_type("AWS::CloudWatch::CompositeAlarm").values()
ALL_ALARMS = ALARMS | {COMPOSITE["AlarmName"].removeprefix(f"{STACK}-"): COMPOSITE}
