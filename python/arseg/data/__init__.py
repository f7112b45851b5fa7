"""Data sets: CamVid as distributed at 480x360, and the synthetic street."""
