"""Compresses the passages of a whole index, from where they lie into a store."""
