"""Functions of arrays: what is a true match, what sets and rankings reach, and how sure that is."""
