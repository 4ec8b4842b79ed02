"""What a process keeps between invocations, made from its environment. Never imports the stripe library."""

from collections.abc import Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

import boto3
from botocore.config import Config

from recon.config import Settings, settings_from
from recon.ledger.table import Table
from recon.queue import SessionQueue
from recon.retry import aws_config


@dataclass(frozen=True)
class Clients:
    settings: Settings
    table: Table
    queue: SessionQueue
    pool: Executor


def clients_from(environ: Mapping[str, str], threads: int) -> Clients:
    """Raises ConfigError before anything is made."""
    settings = settings_from(environ)
    config = Config(**aws_config())
    return Clients(
        settings=settings,
        table=Table(boto3.client("dynamodb", config=config), settings.table),
        queue=SessionQueue(boto3.client("sqs", config=config), settings.queue_url),
        pool=ThreadPoolExecutor(threads),
    )
