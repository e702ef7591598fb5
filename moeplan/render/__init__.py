"""Answers as tables and sentences for a person at 100 columns."""
