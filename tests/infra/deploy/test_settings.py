"""The names that a stack's name leads to."""

import pytest

from infra.deploy import preflight
from infra.deploy.errors import DeployError
from infra.deploy.settings import check_stack_name
from tests.infra.deploy.recorded import RAW, TEMPLATE

LONGEST = "a" * 55


def test_names_of_leftovers_are_those_in_the_template():
    retained = [RAW["Resources"][name]["Properties"] for name in TEMPLATE.retained]
    queues = {one["QueueName"]["Fn::Sub"] for one in retained if "QueueName" in one}
    assert queues == {name.format(stack="${AWS::StackName}") for name in preflight.QUEUES}
    groups = {one["LogGroupName"]["Fn::Sub"] for one in retained if "LogGroupName" in one}
    prefix = preflight.LOG_GROUPS.format(stack="${AWS::StackName}")
    assert groups == {f"{prefix}{name}" for name in ("producer", "consumer")}


# Types of resources that are named after the stack -> the property that names them, and AWS's length limit.
NAMED = {
    "AWS::Serverless::Function": ("FunctionName", 64),
    "AWS::Scheduler::Schedule": ("Name", 64),
    "AWS::SQS::Queue": ("QueueName", 80),
    "AWS::CloudWatch::Alarm": ("AlarmName", 255),
    "AWS::CloudWatch::CompositeAlarm": ("AlarmName", 255),
    "AWS::CloudWatch::Dashboard": ("DashboardName", 255),
    "AWS::Logs::LogGroup": ("LogGroupName", 512),
    "AWS::Logs::QueryDefinition": ("Name", 255),
}


def spare_lengths(stack_name):
    """Return, for each name in the template, how many characters longer it could be."""
    for one in RAW["Resources"].values():
        name, limit = NAMED.get(one["Type"], (None, 0))
        if pattern := one.get("Properties", {}).get(name):
            made = pattern["Fn::Sub"].replace("${AWS::StackName}", stack_name)
            yield limit - len(made.replace("${AWS::Region}", "ap-southeast-1"))


def test_longest_stack_name_fits_every_name_in_the_template():
    assert check_stack_name(LONGEST) == LONGEST
    assert min(spare_lengths(LONGEST)) == 0


@pytest.mark.parametrize("name", ["", "1st", "a_b", f"{LONGEST}a"])
def test_invalid_stack_name_is_rejected(name):
    with pytest.raises(DeployError, match="is no stack name"):
        check_stack_name(name)
