"""A site of many nodes in one process, from a seed: real federation, simulated time, network, disks and clocks."""

from littoral.testing.mesh.plan import Fault, Kind, Plan
from littoral.testing.mesh.run import CONVERGED_S_MAX, Report, simulate

__all__ = ["CONVERGED_S_MAX", "Fault", "Kind", "Plan", "Report", "simulate"]
