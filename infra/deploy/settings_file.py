"""The file of the settings, as it was before this deployment and as it is written."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from infra.deploy import settings
from infra.deploy.settings import DeploySettings


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
        stored = settings.read(path)
        private = store_private or bool(stored and stored.account)
        return cls(path, stored, path.read_text() if stored else "", private)

    def write(self, wanted: DeploySettings) -> None:
        """Write the settings."""
        settings.write(self.path, wanted, private=self.private)

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
        return settings.list_differences(
            self._content(self.settings), settings.to_file(wanted, private=self.private)
        )

    def _content(self, stored: DeploySettings | None) -> Mapping[str, Any] | None:
        # Values that the file already holds are neither hidden nor left out.
        return None if stored is None else settings.to_file(stored, private=bool(stored.account))
