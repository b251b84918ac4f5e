"""Publishing: metadata of the image repository and of the director, and the keys that sign it."""
