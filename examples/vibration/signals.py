"""Vibration of a bearing, written down as a model: **synthetic, no machine was measured**.

A shaft at `speed_hz` with unbalance and misalignment (its harmonics), a gear mesh, and broadband noise. A fault in a
raceway or a ball is a train of impacts at its characteristic frequency; each rings a resonance of the housing, decays,
varies in strength, slips a little in time, and is modulated by the shaft where the fault goes in and out of the load.
(Characteristic frequencies: geometry of a deep-groove ball bearing, as in any text on rolling bearings; the shape of
the impacts: McFadden and Smith, 1984; slip: Antoni and Randall, 2002)
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["FAULTS", "RATE_HZ", "SAMPLES", "Bearing", "window"]

RATE_HZ = 12_000
SAMPLES = 8192
FAULTS = ("good", "outer race", "inner race", "ball")

Array = npt.NDArray[np.float32]


class Bearing(NamedTuple):
    """Geometry; angles in radians."""

    balls: int = 9
    ball_mm: float = 7.94
    pitch_mm: float = 39.04
    contact_angle: float = 0.0

    def impacts_a_turn(self, fault: str) -> float:
        """How often the fault is met in one turn of the shaft, the outer race standing still."""
        ratio = self.ball_mm / self.pitch_mm * np.cos(self.contact_angle)
        return {
            "outer race": self.balls / 2 * (1 - ratio),
            "inner race": self.balls / 2 * (1 + ratio),
            "ball": (1 - ratio**2) / ratio,
        }[fault]


def window(rng: np.random.Generator, fault: str = "good", *, severity: float = 1.0) -> Array:
    """float32[8192] of acceleration, 0.7 s, in multiples of the noise. severity: strength of a fault's impacts."""
    time_s = np.arange(SAMPLES) / RATE_HZ
    speed_hz = rng.uniform(27.0, 31.0)
    signal = rng.standard_normal(SAMPLES)
    for harmonic, strength in ((1, 1.5), (2, 0.6), (3, 0.3), (24, 0.8)):
        phase = rng.uniform(0, 2 * np.pi)
        signal += strength * rng.uniform(0.6, 1.4) * np.sin(2 * np.pi * harmonic * speed_hz * time_s + phase)
    if fault != "good":
        impacts = _impacts(rng, speed_hz, fault, Bearing())
        signal += severity * rng.uniform(0.7, 1.3) * impacts
    return (signal * rng.uniform(0.5, 2.0)).astype(np.float32)  # a sensor's gain is nobody's business


def _impacts(rng: np.random.Generator, speed_hz: float, fault: str, bearing: Bearing) -> npt.NDArray[np.float64]:
    rate_hz = speed_hz * bearing.impacts_a_turn(fault)
    resonance_hz, decay_s = rng.uniform(2800, 3600), rng.uniform(0.6e-3, 1.2e-3)
    ring_s = np.arange(int(8 * decay_s * RATE_HZ)) / RATE_HZ
    ring = np.exp(-ring_s / decay_s) * np.sin(2 * np.pi * resonance_hz * ring_s)
    found = np.zeros(SAMPLES + len(ring))
    at_s = rng.uniform(0, 1 / rate_hz)
    while (at := int(at_s * RATE_HZ)) < SAMPLES:
        load = 1.0 if fault == "outer race" else 0.5 * (1 + np.cos(2 * np.pi * speed_hz * at_s))
        found[at : at + len(ring)] += 5.0 * load * rng.uniform(0.8, 1.2) * ring
        at_s += rng.normal(1.0, 0.015) / rate_hz
    return found[:SAMPLES]
