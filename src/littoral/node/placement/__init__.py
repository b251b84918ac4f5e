"""A step of a pipeline on another node: who may have it, who is fastest, and what an answer says of that."""
