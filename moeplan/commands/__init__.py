"""One module per command: each reads its options, asks the library and prints the answer."""
