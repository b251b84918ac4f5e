"""Files of TOML that people write: what is wrong in them, in words, and tables that node and orchestrator share."""
