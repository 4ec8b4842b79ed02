"""AWS on this machine: the process of the emulator, and its clients."""

from testkit.emulator.clients import AwsClients
from testkit.emulator.process import Emulator, EmulatorError

__all__ = ["AwsClients", "Emulator", "EmulatorError"]
