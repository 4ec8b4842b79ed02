"""What ends a deployment."""


class CannotDeploy(Exception):  # noqa: N818 - the sentence that the user reads
    """Nothing goes on from here; the message is one line that says what is wrong and what would be right."""


class RolledBack(CannotDeploy):
    """CloudFormation began, failed, and took it back: the stack is not what the settings say."""


class BucketMissing(CannotDeploy):
    """There is no bucket of the name that the settings give."""
