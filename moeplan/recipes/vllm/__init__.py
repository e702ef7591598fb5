"""vLLM: commands that start its workers, and its own rules."""
