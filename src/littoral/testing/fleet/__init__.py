"""Simulates fleets: nodes' real state machines, the orchestrator's real rollouts and store, in simulated time.

Network, disks, models with the figures that gates see, HTTP and signatures are what is not real. A seed gives the same
run in every process.
"""
