"""What a process keeps between invocations, made from its environment. Never imports the stripe library."""

from collections.abc import Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

from recon.aws.clients import client
from recon.aws.queue import SessionQueue
from recon.config import Settings, load_settings
from recon.dynamodb.table import Table


@dataclass(frozen=True)
class Clients:
    settings: Settings
    table: Table
    queue: SessionQueue
    pool: Executor


def build_clients(environ: Mapping[str, str], threads: int) -> Clients:
    """Raises ConfigError before anything is made."""
    settings = load_settings(environ)
    return Clients(
        settings=settings,
        table=Table(client("dynamodb"), settings.table),
        queue=SessionQueue(client("sqs"), settings.queue_url),
        pool=ThreadPoolExecutor(threads),
    )
