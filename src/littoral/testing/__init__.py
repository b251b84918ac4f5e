"""What tests replace the world with."""

from littoral.testing.clock import SimulatedClock
from littoral.testing.loop import SimulatedLoop, run_simulated
from littoral.testing.weather import Weather

__all__ = ["SimulatedClock", "SimulatedLoop", "Weather", "run_simulated"]
