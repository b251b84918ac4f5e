"""What tests replace the world with."""

from littoral.testing.clock import SimulatedClock

__all__ = ["SimulatedClock"]
