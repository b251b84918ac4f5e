"""Compiled models and agents run here, each in a sandbox; a pipeline is a row of steps over pools of them."""
