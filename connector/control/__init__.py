"""Commands on the control topic: validated, reduced to state, answered."""
