"""AWS on this machine: the emulator's process, and clients for it."""

from testkit.emulator.clients import Clients
from testkit.emulator.process import Emulator, EmulatorError

__all__ = ["Clients", "Emulator", "EmulatorError"]
