"""`make deploy` and `make destroy`: the stack of infra/template.yaml on AWS, with nothing but the AWS CLI."""
