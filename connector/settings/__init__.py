"""Everything that can be set: the models, where their values come from, and their reference."""
