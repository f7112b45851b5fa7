"""`arseg fit`: one config from data to a network that has been trained, scored and reported on."""
