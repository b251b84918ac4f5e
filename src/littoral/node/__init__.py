"""One site machine: what it runs, the processes it supervises, the protocols it speaks."""
