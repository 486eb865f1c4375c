"""Trunks, heads, and one file per sharing architecture."""
