"""The CloudFormation template, the build of its Lambda functions, and the deployment of both."""
