"""The product: everything that a process of the connector is made of, from start to exit code."""
