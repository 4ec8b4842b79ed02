"""AWS on this machine: the emulator's process, and clients for it."""

from sandbox.emulator.clients import Clients
from sandbox.emulator.process import Emulator, EmulatorError

__all__ = ["Clients", "Emulator", "EmulatorError"]
