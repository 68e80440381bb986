"""Which replica owns which connection slot."""
