"""Chosen fields of payloads lie sealed: the store sees tokens, by which equality is found, and sealed values."""
