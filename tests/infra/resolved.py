"""The template as CloudFormation works it out for a deployment: functions called, parameters put in."""

import re

from cfnlint.decode import decode_str

from infra.build import ROOT

PATH = ROOT / "infra" / "template.yaml"
TEMPLATE = decode_str(PATH.read_text())[0]
RESOURCES = TEMPLATE["Resources"]
PARAMETERS = TEMPLATE["Parameters"]
STACK = "stripe-nightly-sync"
GIVEN = {"CommerceTable": "shop", "StripeSecretParameter": "/shop/stripe-key"}
PSEUDO = {
    "AWS::StackName": STACK,
    "AWS::Region": "eu-central-1",
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::NoValue": None,
}
NAMES = ("FunctionName", "QueueName", "AlarmName", "LogGroupName", "DashboardName", "Name")
_PLACE = re.compile(r"\$\{([^}]+)\}")


class Deployed:
    """One deployment: `Deployed(ScheduleState="DISABLED")`. All other parameters have their defaults."""

    def __init__(self, **parameters):
        assert parameters.keys() <= PARAMETERS.keys(), parameters
        defaults = {name: str(body["Default"]) for name, body in PARAMETERS.items() if "Default" in body}
        self.parameters = defaults | GIVEN | parameters

    def properties(self, name):
        return self.value(RESOURCES[name]["Properties"])

    def of_type(self, kind):
        names = [name for name, body in RESOURCES.items() if body["Type"] == kind]
        return {name: self.properties(name) for name in names}

    def value(self, value):  # noqa: PLR0911 - a case for each function
        """A value of the template with everything in it worked out; what is AWS::NoValue is gone."""
        match value:
            case {"Ref": name}:
                return self._ref(name)
            case {"Fn::GetAtt": [name, attribute]}:
                return self._attribute(name, attribute)
            case {"Fn::Sub": [text, own]}:
                return self._sub(text, self.value(own))
            case {"Fn::Sub": text}:
                return self._sub(text, {})
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

    def _sub(self, text, own):
        def put_in(place):
            name = place[1]
            if name in own:
                return own[name]
            resource, _, attribute = name.partition(".")
            return str(self._attribute(resource, attribute) if attribute else self._ref(name))

        return _PLACE.sub(put_in, text)
