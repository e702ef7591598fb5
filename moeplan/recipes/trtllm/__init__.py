"""TensorRT-LLM: its engine files, commands that start it, and its own rules."""
