"""Agents for users: a Rust crate made, built, tested and checked (docs/guides/write-an-agent.md)."""
