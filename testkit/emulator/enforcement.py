"""What the emulator needs to ask policies: a switch, and TLS, without which the queues' own refuse."""

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Certificate:
    """PEM files: `chain` and `key` of a server, and the `authority` that its clients trust."""

    chain: Path
    key: Path
    authority: Path


def certificate_for(host: str, python: Path, folder: Path) -> Certificate:
    """A fresh one, made by the emulator's `python`. Nobody else trusts it, and it ends with its folder."""
    made = Certificate(folder / "server.pem", folder / "server.key", folder / "client.pem")
    command = [str(python), "-m", "trustme", "--quiet", "--dir", str(folder), "--identities", host]
    subprocess.run(command, check=True, capture_output=True)
    return made


def enforcement(certificate: Certificate) -> dict[str, str]:
    """The emulator's variables for it. The functions inherit the last one, and so trust the emulator."""
    return {
        "AUTH": "true",
        "USE_SSL": "1",
        "MINISTACK_SSL_CERT": str(certificate.chain),
        "MINISTACK_SSL_KEY": str(certificate.key),
        "AWS_CA_BUNDLE": str(certificate.authority),
    }
