"""Steps of pipelines that run elsewhere, as nodes and the orchestrator tell each other of them."""
