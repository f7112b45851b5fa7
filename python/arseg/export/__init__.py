"""Networks as files that run without their code: compiled parts, and what says how they fit together."""
