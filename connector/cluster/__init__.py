"""Membership of the cluster: which replica owns which connection slot."""
