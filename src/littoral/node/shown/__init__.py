"""What the pages of a node show beside its own `/api`: each page's JSON twin."""
