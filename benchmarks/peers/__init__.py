"""Other engines for the same method, installed in environments of their own."""
