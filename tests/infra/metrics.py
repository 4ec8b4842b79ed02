"""The metrics that the stack's functions and queues report."""

from recon.telemetry import Metric
from tests.infra.resolved import STACK

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
# https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
AWS_METRICS = {
    ("AWS/SQS", "QueueName"): {
        "ApproximateNumberOfMessagesVisible",
        "ApproximateNumberOfMessagesNotVisible",
        "ApproximateNumberOfMessagesDelayed",
        "ApproximateAgeOfOldestMessage",
    },
    ("AWS/Lambda", "FunctionName"): {"Errors", "Throttles", "Duration", "ConcurrentExecutions"},
}
RESOURCE_NAMES = ("producer", "consumer", "sessions", "dead-letters", "missed-starts")


def metric_exists(metric):
    """Return whether a function or queue of this stack reports the metric."""
    namespace, name, dimensions = metric
    if namespace == "StripeNightlySync":
        return name in {one.value for one in Metric} and dict(dimensions) == {"stack": STACK}
    ((dimension, value),) = dimensions
    return name in AWS_METRICS[namespace, dimension] and value in {f"{STACK}-{one}" for one in RESOURCE_NAMES}
