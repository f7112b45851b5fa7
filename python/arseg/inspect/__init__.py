"""What the vectors of a video are worth."""
