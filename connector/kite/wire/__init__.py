"""What goes over the wire: frames, packets, text messages and the words of the feed."""
