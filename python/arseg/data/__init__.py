"""Data sets: CamVid in its distributions, Cityscapes, both as compressed video, and the synthetic street."""
