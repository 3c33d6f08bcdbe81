#!/usr/bin/env python3
"""Makes the small files that fuzzing begins with (corpus/). config.json's are those of tests/golden.

    pip install protobuf sentencepiece        (6.33.1 and 0.2.3 made what is here)
"""
import json
import os
import struct

from sentencepiece import sentencepiece_model_pb2

HERE = os.path.dirname(os.path.abspath(__file__))


def write(kind, name, content):
    path = os.path.join(HERE, "corpus", kind)
    os.makedirs(path, exist_ok=True)
    with open(os.path.join(path, name), "wb") as file:
        file.write(content if isinstance(content, bytes) else json.dumps(content).encode())


# -- tokenizer.json -----------------------------------------------------------------------------------
def added(identity, content, **flags):
    return {"id": identity, "content": content, "special": True, "normalized": False, **flags}


LETTERS = ["\u0120", "T", "h", "e", "c", "a", "f", "\u00c3", "\u00a9", "1", "2", "<", "s", ">", "\u2581"]
MERGES = [["h", "e"], ["T", "he"], ["\u00c3", "\u00a9"], ["1", "2"]]


def bpe(**model):
    vocab = {piece: i for i, piece in enumerate(LETTERS + ["he", "The", "\u00c3\u00a9", "12"])}
    return {"type": "BPE", "vocab": vocab, "merges": MERGES, **model}


def make_tokenizer_json():
    split = {"type": "Split", "pattern": {"Regex": r"(?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|\s+(?!\S)|\s+"},
             "behavior": "Isolated", "invert": False}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    template = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
                                                         {"Sequence": {"id": "A", "type_id": 0}}],
                "special_tokens": {"<s>": {"id": "<s>", "ids": [19], "tokens": ["<s>"]}}}
    write("tokenizer_json", "bytes.json", {
        "version": "1.0", "added_tokens": [added(19, "<s>"), added(20, "</s>", rstrip=True)],
        "normalizer": {"type": "NFC"}, "post_processor": template, "decoder": level,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, level]},
        "model": bpe(ignore_merges=True)})
    write("tokenizer_json", "fallback.json", {
        "added_tokens": [added(0, "\u0120"), added(25, "  ", special=False, normalized=True)],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "\u2581"}, {"type": "Lowercase"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
            {"type": "Strip", "strip_left": True, "strip_right": True}]},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}, {"type": "ByteFallback"},
            {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": bpe(byte_fallback=True, unk_token="<", fuse_unk=True)})
    pieces = [["<unk>", 0.0], ["\u2581", -1.5], ["\u2581The", -2.0], ["ca", -2.5], ["e", -3.0], ["<s>", 0.0]]
    write("tokenizer_json", "unigram.json", {
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Nmt"}, {"type": "Precompiled", "precompiled_charsmap": "CAAAAAABAAAAAAAAYWIA"},
            {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "WhitespaceSplit"}, {"type": "Punctuation", "behavior": "Contiguous"},
            {"type": "Digits", "individual_digits": True},
            {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first"}]},
        "decoder": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first"},
        "model": {"type": "Unigram", "unk_id": 0, "vocab": pieces, "byte_fallback": True}})


# -- tokenizer.model ----------------------------------------------------------------------------------
def model(kind, symbols, byte_fallback, **normalizer):
    proto = sentencepiece_model_pb2.ModelProto()

    def put(piece, score, of_kind):
        one = proto.pieces.add()
        one.piece, one.score, one.type = piece, score, of_kind
    put("<unk>", 0, 2)
    put("<s>", 0, 3)
    put("[INST]", 0, 3)
    if byte_fallback:
        for byte in range(256):
            put("<0x%02X>" % byte, 0, 6)
    for i, piece in enumerate(["\u2581", "T", "h", "e", "he", "\u2581T", "\u2581The", "c", "a", "ca", "12"]):
        put(piece, -1.0 - i, 5 if piece == "ca" else 1)
    for symbol in symbols:
        put(symbol, 0, 4)
    proto.trainer_spec.model_type = kind
    proto.trainer_spec.byte_fallback = byte_fallback
    proto.trainer_spec.bos_id = 1
    proto.normalizer_spec.name = "x"
    for name, value in normalizer.items():
        setattr(proto.normalizer_spec, name, value)
    return proto.SerializeToString()


def make_tokenizer_model():
    charsmap = struct.pack("<I", 8) + struct.pack("<II", 256, 0) + b"ab\0"
    write("tokenizer_model", "bpe.model", model(2, ["  ", "<m>"], True, remove_extra_whitespaces=False))
    write("tokenizer_model", "unigram.model", model(1, ["<s>1"], False, precompiled_charsmap=charsmap))


# -- safetensors --------------------------------------------------------------------------------------
def make_safetensors():
    header = {"__metadata__": {"format": "pt"},
              "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
              "b": {"dtype": "BF16", "shape": [4], "data_offsets": [24, 32]},
              "c": {"dtype": "F16", "shape": [1, 2], "data_offsets": [32, 36]},
              "d": {"dtype": "I64", "shape": [], "data_offsets": [36, 44]},
              "e": {"dtype": "F32", "shape": [0, 7], "data_offsets": [44, 44]}}
    text = json.dumps(header).encode()
    write("safetensors", "all", struct.pack("<Q", len(text)) + text + bytes(range(44)))
    write("safetensors", "none", struct.pack("<Q", 2) + b"{}")


# -- GGUF ---------------------------------------------------------------------------------------------
U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
FORMATS = {U8: "<B", U16: "<H", U32: "<I", I32: "<i", F32: "<f", BOOL: "<?", U64: "<Q", F64: "<d"}


def text(value):
    value = value.encode()
    return struct.pack("<Q", len(value)) + value


def element(kind, value):
    return text(value) if kind == STRING else struct.pack(FORMATS[kind], value)


def entry(key, kind, value):
    if isinstance(value, list):
        return (text(key) + struct.pack("<IIQ", ARRAY, kind, len(value)) +
                b"".join(element(kind, one) for one in value))
    return text(key) + struct.pack("<I", kind) + element(kind, value)


def gguf(entries, tensors=(), version=3, alignment=32):
    """tensors: name, sizes innermost first, type, bytes."""
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(entries)) + b"".join(entries)
    data = b""
    for name, sizes, kind, content in tensors:
        head += text(name) + struct.pack("<I", len(sizes))
        head += b"".join(struct.pack("<Q", size) for size in sizes)
        head += struct.pack("<IQ", kind, len(data))
        data += content + bytes(-len(content) % alignment)
    return head + bytes(-len(head) % alignment) + data


def make_gguf():
    tensors = [("q", [32, 2], 8, bytes(68)), ("f", [3, 2], 0, bytes(24)), ("h", [2], 1, bytes(4))]
    numbers = [entry("u8", U8, 1), entry("u16", U16, 2), entry("f32", F32, 0.5), entry("f64", F64, 0.1),
               entry("yes", BOOL, True), entry("u64", U64, 2**63), entry("list", I32, [-1, 2]),
               entry("general.alignment", U32, 32)]
    write("gguf", "values", gguf(numbers, tensors))
    write("gguf", "version2", gguf(numbers[:2], tensors[:1], version=2))
    sizes = {"block_count": 1, "context_length": 64, "embedding_length": 8, "feed_forward_length": 16,
             "attention.head_count": 2, "attention.head_count_kv": 1, "rope.dimension_count": 4,
             "vocab_size": 4}
    write("gguf", "llama", gguf(
        [entry("general.architecture", STRING, "llama"),
         entry("llama.attention.layer_norm_rms_epsilon", F32, 1e-5),
         entry("llama.rope.freq_base", F32, 10000.0)] +
        [entry("llama." + name, U32, size) for name, size in sizes.items()],
        [("token_embd.weight", [8, 4], 0, bytes(128)), ("blk.0.attn_q.weight", [8, 8], 1, bytes(128))]))
    tokens = ["<unk>", "<s>", "\u2581", "T", "h", "e", "he", "\u2581The", "<m>"]
    write("gguf", "sentencepiece", gguf([
        entry("general.architecture", STRING, "phi3"), entry("tokenizer.ggml.model", STRING, "llama"),
        entry("tokenizer.ggml.tokens", STRING, tokens),
        entry("tokenizer.ggml.scores", F32, [-float(i) for i in range(9)]),
        entry("tokenizer.ggml.token_type", I32, [2, 3, 1, 1, 1, 1, 1, 1, 4]),
        entry("tokenizer.ggml.bos_token_id", U32, 1), entry("tokenizer.ggml.unknown_token_id", U32, 0),
        entry("tokenizer.ggml.add_bos_token", BOOL, True)]))
    write("gguf", "bytes", gguf([
        entry("tokenizer.ggml.model", STRING, "gpt2"), entry("tokenizer.ggml.pre", STRING, "llama-bpe"),
        entry("tokenizer.ggml.tokens", STRING, ["\u0120", "T", "h", "e", "he", "The", "<|end|>"]),
        entry("tokenizer.ggml.token_type", I32, [1, 1, 1, 1, 1, 1, 3]),
        entry("tokenizer.ggml.merges", STRING, ["h e", "T he"]),
        entry("tokenizer.ggml.eos_token_id", U32, 6),
        entry("tokenizer.chat_template", STRING, "{{ messages }}")]))


if __name__ == "__main__":
    make_tokenizer_json()
    make_tokenizer_model()
    make_safetensors()
    make_gguf()
