"""The errors that end a deployment."""


class DeployError(Exception):
    """The deployment cannot continue; the message says in one line what is wrong and what would be right."""


class RollbackError(DeployError):
    """CloudFormation started, failed and rolled back: the stack differs from the settings."""


class BucketNotFoundError(DeployError):
    """The bucket that the settings name does not exist."""
