"""Work that many processes share: what is cut into jobs, and where these are run."""
