"""A collection is embedded anew by another model, beside requests, and flipped."""
