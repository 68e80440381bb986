"""Bytes as a WebSocket server sends them, also as it must not."""


def server_frame(opcode, payload, *, fin=True, reserved=0, mask=False):
    """One frame (RFC 6455, 5.2)."""
    size = len(payload)
    head = bytes([fin << 7 | reserved << 4 | opcode])
    if size < 126:
        length = bytes([mask << 7 | size])
    elif size < 2**16:
        length = bytes([mask << 7 | 126]) + size.to_bytes(2)
    else:
        length = bytes([mask << 7 | 127]) + size.to_bytes(8)
    return head + length + (b"mask" if mask else b"") + payload


def client_frames(data):
    """(opcode, payload) of each frame that a client wrote."""
    frames = []
    while data:
        head, size = 2, data[1] & 0x7F
        if size > 125:
            head = 4 if size == 126 else 10
            size = int.from_bytes(data[2:head])
        mask, payload = data[head : head + 4], data[head + 4 : head + 4 + size]
        frames.append((data[0] & 0x0F, bytes(b ^ mask[i % 4] for i, b in enumerate(payload))))
        data = data[head + 4 + size :]
    return frames
