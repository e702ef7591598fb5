"""Answers as frozen records, and how what the rooms find becomes them."""
