"""What a network is worth: scores by distance to the keyframe, agreement, compute."""
