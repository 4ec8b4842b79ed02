"""The settings with which the emulator enforces policies, and TLS, which the queue policies demand."""

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Certificate:
    """The PEM files of a certificate: `chain` and `key` of a server, and the `authority` of its clients."""

    chain: Path
    key: Path
    authority: Path


def create_certificate(host: str, python: Path, folder: Path) -> Certificate:
    """Create a certificate in `folder` with the emulator's `python`. Only its own clients trust it."""
    made = Certificate(folder / "server.pem", folder / "server.key", folder / "client.pem")
    command = [str(python), "-m", "trustme", "--quiet", "--dir", str(folder), "--identities", host]
    subprocess.run(command, check=True, capture_output=True)
    return made


def enforcement_variables(certificate: Certificate) -> dict[str, str]:
    """Return the emulator's environment variables. The functions inherit the last one to trust it."""
    return {
        "AUTH": "true",
        "USE_SSL": "1",
        "MINISTACK_SSL_CERT": str(certificate.chain),
        "MINISTACK_SSL_KEY": str(certificate.key),
        "AWS_CA_BUNDLE": str(certificate.authority),
    }
