"""The file of the settings, `deploy.<stack>.json`: reading it, writing it, and what it leaves out.

The file holds names and numbers, no secret. It belongs in version control, so that every deployment uses the
same settings. Unless the user asks for it, it holds no account id and no e-mail address either: `{account}`
stands for the id, and the address stays in the stack. Parameters that it omits have the default of the
template.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from infra.deploy.errors import DeployError
from infra.deploy.settings import DeploySettings, default_bucket

_ACCOUNT = "{account}"
_ADDRESS = "@"


@dataclass(frozen=True)
class SettingsFile:
    """The file and its former content. With `private` it keeps the account's id and the e-mail address."""

    path: Path
    settings: DeploySettings | None
    text: str
    private: bool

    @classmethod
    def read(cls, path: Path, *, store_private: bool) -> Self:
        """Return the file. One that names the account was asked to, so it keeps both."""
        stored = read_settings(path)
        private = store_private or bool(stored and stored.account)
        return cls(path, stored, path.read_text() if stored else "", private)

    def write(self, wanted: DeploySettings) -> None:
        """Write the settings."""
        write_settings(self.path, wanted, private=self.private)

    def restore(self) -> None:
        """Write the former content again, or delete the file if there was none."""
        if self.settings is None:
            self.path.unlink(missing_ok=True)
        else:
            self.path.write_text(self.text)

    def is_as_before(self) -> bool:
        """Return whether the file has its former content."""
        return (self.path.read_text() if self.path.exists() else "") == self.text

    def list_changes(self, wanted: DeploySettings) -> list[str]:
        """Return the names of the settings that writing them would change."""
        return list_differences(self._content(self.settings), to_file(wanted, private=self.private))

    def _content(self, stored: DeploySettings | None) -> Mapping[str, Any] | None:
        # Values that the file already holds are neither hidden nor left out.
        return None if stored is None else to_file(stored, private=bool(stored.account))


def default_path(stack: str, folder: Path = Path()) -> Path:
    return folder / f"deploy.{stack}.json"


def read_settings(path: Path) -> DeploySettings | None:
    """Return the stored settings, or None if there is no file. Raise DeployError if it is invalid."""
    if not path.exists():
        return None
    try:
        raw = json.loads(path.read_text())
        settings = DeploySettings(**{"account": "", "bucket": "", **raw})
    except (OSError, ValueError, TypeError) as error:
        raise DeployError(f"{path} cannot be read: {error}") from error
    values = [settings.stack, settings.account, settings.region, settings.bucket]
    if not all(isinstance(value, str) for value in [*values, *settings.parameters.values()]):
        raise DeployError(f"{path} cannot be read: every value must be text")
    return settings


def write_settings(path: Path, settings: DeploySettings, *, private: bool) -> None:
    """Write the file. With `private` it holds the account's id and the e-mail address as well."""
    path.write_text(json.dumps(to_file(settings, private=private), indent=2) + "\n")


def to_file(settings: DeploySettings, *, private: bool) -> dict[str, Any]:
    """Return the content of the file."""
    parameters = settings.parameters
    content = {"stack": settings.stack, "region": settings.region}
    if private:
        return {
            **content,
            "account": settings.account,
            "bucket": settings.bucket,
            "parameters": dict(parameters),
        }
    public = {name: value for name, value in parameters.items() if _ADDRESS not in value}
    return {
        **content,
        "bucket": _hide_account(settings.bucket, settings.account),
        "parameters": {name: _hide_account(value, settings.account) for name, value in public.items()},
    }


def _hide_account(value: str, account: str) -> str:
    return value.replace(account, _ACCOUNT) if account else value


def resolve_account(settings: DeploySettings, account: str) -> DeploySettings:
    """Return the settings for an account: its id takes the place of `{account}`."""
    return replace(
        settings,
        account=account,
        bucket=settings.bucket.replace(_ACCOUNT, account) or default_bucket(account, settings.region),
        parameters={name: value.replace(_ACCOUNT, account) for name, value in settings.parameters.items()},
    )


def add_addresses(settings: DeploySettings, deployed: Mapping[str, str]) -> DeploySettings:
    """Return the settings with the e-mail addresses of the deployed stack, which the file may omit."""
    addresses = {name: value for name, value in deployed.items() if _ADDRESS in value}
    return replace(settings, parameters={**addresses, **settings.parameters})


def list_differences(before: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> list[str]:
    """Return the names that differ between two contents of the file. It omits the values."""
    old, new = _flatten(before or {}), _flatten(wanted)
    return sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))


def _flatten(content: Mapping[str, Any]) -> dict[str, str]:
    return {
        **content.get("parameters", {}),
        **{key: one for key, one in content.items() if key != "parameters"},
    }
