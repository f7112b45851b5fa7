"""The interfaces of packages that this one takes the place of; each is a module to import, and loads nothing before."""
