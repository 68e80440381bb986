"""The contracts: one Avro schema per topic value, JSON Schemas of the control messages."""
