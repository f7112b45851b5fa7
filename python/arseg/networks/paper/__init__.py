"""The networks that AR-Seg was published with."""
