"""What disks do to files."""


def flip_a_bit(file, at):
    """Change one bit of the byte at an offset, from the end where that is negative."""
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)
