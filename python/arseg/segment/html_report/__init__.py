"""A segmented video as one HTML page: the player, the timeline and the classes, in a file that needs no other."""
