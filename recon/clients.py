"""What a process keeps between invocations, made from its environment. Never imports the stripe library."""

from collections.abc import Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

from recon.aws import client
from recon.config import Settings, settings_from
from recon.ledger.table import Table
from recon.queue import SessionQueue


@dataclass(frozen=True)
class Clients:
    settings: Settings
    table: Table
    queue: SessionQueue
    pool: Executor


def clients_from(environ: Mapping[str, str], threads: int) -> Clients:
    """Raises ConfigError before anything is made."""
    settings = settings_from(environ)
    return Clients(
        settings=settings,
        table=Table(client("dynamodb"), settings.table),
        queue=SessionQueue(client("sqs"), settings.queue_url),
        pool=ThreadPoolExecutor(threads),
    )
