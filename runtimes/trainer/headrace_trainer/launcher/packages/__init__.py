"""The packages that a script needs beyond the image's."""
