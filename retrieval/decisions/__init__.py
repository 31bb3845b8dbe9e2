"""What people have decided of pairs of items: the file beside a store, and what it says of rows."""
