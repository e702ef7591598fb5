"""How far an answer holds where constants are uncertain, and what to measure next."""
