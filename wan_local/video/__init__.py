"""A stream of frames -> a file, and what a file says of itself. Imports nothing of torch here."""
