"""ggml's types of tensors in numpy: values to bytes and back, by the layouts in ggml-common.h.
Encoders are simple ones, not ggml's own: what they choose is only as good as a test needs."""
import numpy

NUMBERS = {"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q5_0": 6, "Q5_1": 7, "Q8_0": 8, "Q4_K": 12,
           "Q5_K": 13, "Q6_K": 14, "BF16": 30}
BYTES = {"Q4_0": 18, "Q4_1": 20, "Q5_0": 22, "Q5_1": 24, "Q8_0": 34, "Q4_K": 144, "Q5_K": 176,
         "Q6_K": 210}  # of a block
SIMPLE = ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"]
SUPER = ["Q4_K", "Q5_K", "Q6_K"]


def length(kind):
    """Values of a block."""
    return 256 if kind in SUPER else 32 if kind in SIMPLE else 1


def encode(kind, values):
    if kind == "F32":
        return values.astype("<f4").tobytes()
    if kind == "F16":
        return values.astype("<f2").tobytes()
    if kind == "BF16":
        bits = values.astype("<f4").view(numpy.uint32)
        return ((bits + 0x7fff + (bits >> 16 & 1)) >> 16).astype("<u2").tobytes()
    blocks = values.astype(numpy.float32).reshape(-1, length(kind))
    if kind == "Q6_K":
        return encode_q6_k(blocks).tobytes()
    if kind in SUPER:
        return encode_super(blocks, 15 if kind == "Q4_K" else 31).tobytes()
    return encode_simple(kind, blocks).tobytes()


def decode(kind, data, shape):
    if kind == "F32":
        return numpy.frombuffer(data, "<f4").reshape(shape)
    if kind == "F16":
        return numpy.frombuffer(data, "<f2").astype(numpy.float32).reshape(shape)
    if kind == "BF16":
        bits = numpy.frombuffer(data, "<u2").astype(numpy.uint32) << 16
        return bits.view(numpy.float32).reshape(shape)
    blocks = numpy.frombuffer(data, numpy.uint8).reshape(-1, BYTES[kind])
    if kind == "Q6_K":
        return decode_q6_k(blocks).reshape(shape)
    if kind in SUPER:
        return decode_super(blocks, kind == "Q5_K").reshape(shape)
    return decode_simple(kind, blocks).reshape(shape)


def halves(blocks, first):
    """The f16 at a byte of each block, as f32 [blocks, 1]."""
    return blocks[:, first:first + 2].copy().view("<f2").astype(numpy.float32)


def raw(values):
    """f16 as bytes, and what they stand for."""
    half = values.astype("<f2")
    return half.view(numpy.uint8), half.astype(numpy.float32)


def levels(values, scale, least, most):
    steps = numpy.divide(values, scale, out=numpy.zeros_like(values), where=scale != 0)
    return numpy.clip(numpy.rint(steps), least, most)


# -- 32 values -------------------------------------------------------------------------------------

def encode_simple(kind, blocks):
    most = {"Q8_0": 127, "Q4_0": 15, "Q4_1": 15, "Q5_0": 31, "Q5_1": 31}[kind]
    if kind in ("Q4_1", "Q5_1"):
        least = blocks.min(axis=1, keepdims=True)
        scale_bytes, scale = raw((blocks.max(axis=1, keepdims=True) - least) / most)
        least_bytes, least = raw(least)
        head = [scale_bytes, least_bytes]
        q = levels(blocks - least, scale, 0, most)
    elif kind == "Q8_0":
        scale_bytes, scale = raw(numpy.abs(blocks).max(axis=1, keepdims=True) / most)
        q = levels(blocks, scale, -127, 127).astype(numpy.int8).view(numpy.uint8)
        return numpy.concatenate([scale_bytes, q], axis=1)
    else:
        half = (most + 1) // 2
        at = numpy.abs(blocks).argmax(axis=1)[:, None]
        scale_bytes, scale = raw(numpy.take_along_axis(blocks, at, axis=1) / -half)
        head = [scale_bytes]
        q = levels(blocks, scale, -half, half - 1) + half
    q = q.astype(numpy.uint8)
    if most == 31:
        head.append(numpy.packbits(q >> 4, axis=1, bitorder="little"))
    return numpy.concatenate(head + [(q[:, :16] & 15) | (q[:, 16:] & 15) << 4], axis=1)


def decode_simple(kind, blocks):
    scale = halves(blocks, 0)
    if kind == "Q8_0":
        return scale * blocks[:, 2:].view(numpy.int8).astype(numpy.float32)
    nibbles = blocks[:, -16:]
    q = numpy.concatenate([nibbles & 15, nibbles >> 4], axis=1)
    if kind in ("Q5_0", "Q5_1"):
        high = blocks[:, -20:-16]
        q = q | numpy.unpackbits(high, axis=1, bitorder="little") << 4
    q = q.astype(numpy.float32)
    if kind in ("Q4_1", "Q5_1"):
        return scale * q + halves(blocks, 2)
    return scale * (q - (8 if kind == "Q4_0" else 16))


# -- 256 values ------------------------------------------------------------------------------------

def encode_super(blocks, most):
    """Q4_K and Q5_K: eight groups of 32 with a scale and a least value of 6 bits each."""
    groups = blocks.reshape(-1, 8, 32)
    least = numpy.minimum(groups.min(axis=2), 0)
    scale = (groups.max(axis=2) - least) / most
    d_bytes, d = raw(scale.max(axis=1, keepdims=True) / 63)
    m_bytes, m = raw(-least.min(axis=1, keepdims=True) / 63)
    scales = levels(scale, numpy.broadcast_to(d, scale.shape), 0, 63).astype(numpy.uint8)
    leasts = levels(-least, numpy.broadcast_to(m, least.shape), 0, 63).astype(numpy.uint8)
    step = (d * scales)[:, :, None]
    q = levels(groups + (m * leasts)[:, :, None], numpy.broadcast_to(step, groups.shape), 0, most)
    q = q.astype(numpy.uint8)
    low = scales[:, :4] | scales[:, 4:] >> 4 << 6
    middle = leasts[:, :4] | leasts[:, 4:] >> 4 << 6
    high = (scales[:, 4:] & 15) | (leasts[:, 4:] & 15) << 4
    pairs = (q & 15).reshape(-1, 4, 2, 32)
    nibbles = (pairs[:, :, 0] | pairs[:, :, 1] << 4).reshape(-1, 128)
    fifth = [numpy.bitwise_or.reduce((q >> 4) << numpy.arange(8, dtype=numpy.uint8)[:, None],
                                     axis=1)] if most == 31 else []
    return numpy.concatenate([d_bytes, m_bytes, low, middle, high] + fifth + [nibbles], axis=1)


def decode_super(blocks, has_fifth):
    low, middle, high = blocks[:, 4:8], blocks[:, 8:12], blocks[:, 12:16]
    scales = numpy.concatenate([low & 63, (high & 15) | low >> 6 << 4], axis=1)
    leasts = numpy.concatenate([middle & 63, high >> 4 | middle >> 6 << 4], axis=1)
    nibbles = blocks[:, -128:].reshape(-1, 4, 1, 32)
    q = numpy.concatenate([nibbles & 15, nibbles >> 4], axis=2).reshape(-1, 8, 32)
    if has_fifth:
        bits = blocks[:, 16:48].reshape(-1, 1, 32) >> numpy.arange(8, dtype=numpy.uint8)[:, None]
        q = q | (bits & 1) << 4
    step = halves(blocks, 0) * scales
    least = halves(blocks, 2) * leasts
    return step[:, :, None] * q.astype(numpy.float32) - least[:, :, None]


def encode_q6_k(blocks):
    """Sixteen groups of 16 with a signed scale of 8 bits."""
    groups = blocks.reshape(-1, 16, 16)
    scale = numpy.abs(groups).max(axis=2) / 31
    d_bytes, d = raw(scale.max(axis=1, keepdims=True) / 127)
    scales = levels(scale, numpy.broadcast_to(d, scale.shape), 0, 127)
    step = numpy.broadcast_to((d * scales)[:, :, None], groups.shape)
    q = (levels(groups, step, -32, 31) + 32).astype(numpy.uint8).reshape(-1, 2, 4, 32)
    low = q & 15
    nibbles = numpy.concatenate([low[:, :, 0] | low[:, :, 2] << 4, low[:, :, 1] | low[:, :, 3] << 4],
                                axis=2).reshape(-1, 128)
    high = numpy.bitwise_or.reduce(
        (q >> 4) << numpy.array([0, 2, 4, 6], numpy.uint8)[:, None], axis=2).reshape(-1, 64)
    return numpy.concatenate([nibbles, high, scales.astype(numpy.int8).view(numpy.uint8), d_bytes],
                             axis=1)


def decode_q6_k(blocks):
    nibbles = blocks[:, :128].reshape(-1, 2, 2, 32)
    high = blocks[:, 128:192].reshape(-1, 2, 1, 32)
    low = numpy.concatenate([nibbles & 15, nibbles >> 4], axis=2)
    q = low | (high >> numpy.array([0, 2, 4, 6], numpy.uint8)[:, None] & 3) << 4
    step = halves(blocks, 208) * blocks[:, 192:208].view(numpy.int8).astype(numpy.float32)
    return step[:, :, None] * (q.astype(numpy.float32) - 32).reshape(-1, 16, 16)
