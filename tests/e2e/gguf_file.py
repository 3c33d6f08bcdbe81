"""Writing GGUF files: the format, and Hugging Face directories by llama.cpp's conventions (its
convert_hf_to_gguf.py and gguf-py's tensor names), for the end-to-end tests."""
import json
import math
import struct

import numpy

import gguf_blocks
import quire

ALIGNMENT = 32
U32, I32, F32, BOOL, STRING, ARRAY, U64 = 4, 5, 6, 7, 8, 9, 10
NUMBERS = {U32: "<I", I32: "<i", F32: "<f", BOOL: "<?", U64: "<Q"}


def packed_text(text):
    data = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(data)) + data


def type_of(value):
    if isinstance(value, bool):
        return BOOL
    if isinstance(value, int):
        return U32 if value >= 0 else I32
    return F32 if isinstance(value, float) else STRING


def packed(kind, value):
    return packed_text(value) if kind == STRING else struct.pack(NUMBERS[kind], value)


def packed_value(value):
    """A value with its type before it; lists are arrays, of i32 where they hold integers."""
    if not isinstance(value, list):
        return struct.pack("<I", type_of(value)) + packed(type_of(value), value)
    kind = type_of(value[0])
    kind = I32 if kind == U32 else kind
    return struct.pack("<IIQ", ARRAY, kind, len(value)) + b"".join(packed(kind, v) for v in value)


def write(path, metadata, tensors, version=3):
    """`tensors`: by name (type, shape as numpy has it, bytes)."""
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata))
    for key, value in metadata.items():
        head += packed_text(key) + packed_value(value)
    at = 0
    for name, (kind, shape, data) in tensors.items():
        number = gguf_blocks.NUMBERS.get(kind, kind)
        head += packed_text(name) + struct.pack("<I", len(shape))
        head += b"".join(struct.pack("<Q", size) for size in reversed(shape))
        head += struct.pack("<IQ", number, at)
        at += -(-len(data) // ALIGNMENT) * ALIGNMENT
    with open(path, "wb") as file:
        file.write(head + b"\0" * (-len(head) % ALIGNMENT))
        for _, _, data in tensors.values():
            file.write(data)
            file.write(b"\0" * (-len(data) % ALIGNMENT))
    return path


def write_split(directory, name, metadata, tensors, count):
    """Files as gguf-split makes them: the first holds the metadata, tensors go in turn."""
    names = list(tensors)
    paths = []
    for number in range(count):
        own = names[len(names) * number // count:len(names) * (number + 1) // count]
        keys = dict(metadata) if number == 0 else {}
        keys.update({"split.no": number, "split.count": count, "split.tensors.count": len(names)})
        paths.append(write(directory / ("%s-%05d-of-%05d.gguf" % (name, number + 1, count)), keys,
                           {tensor: tensors[tensor] for tensor in own}))
    return paths


# -- models ----------------------------------------------------------------------------------------

ARCHITECTURES = {"mistral": "llama", "mixtral": "llama", "qwen3_moe": "qwen3moe", "phi": "phi2",
                 "gemma3_text": "gemma3"}
# Rotated by adjacent pairs in llama.cpp, so that rows of q and k are put in that order.
PERMUTED = ("llama", "mistral", "mixtral", "granite", "smollm3")
NAMES = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm",
    "model.final_layernorm": "output_norm", "lm_head": "output",
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "self_attn.dense": "attn_output", "self_attn.qkv_proj": "attn_qkv",
    "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm", "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm", "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "mlp.gate_up_proj": "ffn_up",
    "mlp.fc1": "ffn_up", "mlp.fc2": "ffn_down", "mlp.gate": "ffn_gate_inp",
    "block_sparse_moe.gate": "ffn_gate_inp",
}
EXPERTS = {"w1": "ffn_gate_exps", "w3": "ffn_up_exps", "w2": "ffn_down_exps",
           "gate_proj": "ffn_gate_exps", "up_proj": "ffn_up_exps", "down_proj": "ffn_down_exps"}


def name_of(name, family):
    """(GGUF's name, the expert's number or None) of a tensor."""
    stem, ending = name.rsplit(".", 1)
    if not stem.startswith("model.layers."):
        return "%s.%s" % (NAMES[stem], ending), None
    layer, rest = stem[len("model.layers."):].split(".", 1)
    if ".experts." in rest:
        expert, part = rest.split(".experts.")[1].split(".")
        return "blk.%s.%s.%s" % (layer, EXPERTS[part], ending), int(expert)
    own = NAMES[rest]
    if rest == "post_attention_layernorm" and family in ("gemma2", "gemma3_text", "olmo2"):
        own = "post_attention_norm"
    return "blk.%s.%s.%s" % (layer, own, ending), None


def permuted(values, heads):
    """Rows of each head from halves to pairs, as LlamaModel.permute."""
    halves = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
    return halves.swapaxes(1, 2).reshape(values.shape)


def widened(values):
    return (values.astype(numpy.uint32) << 16).view(numpy.float32) \
        if values.dtype == numpy.uint16 else values.astype(numpy.float32)


def arrays_of(model, config):
    """The model's tensors by GGUF's names, f32."""
    family = config["model_type"]
    arrays, stacks = {}, {}
    for name, values in quire.read_safetensors(model / "model.safetensors").items():
        own, expert = name_of(name, family)
        values = widened(values)
        if family in PERMUTED and ".attn_q." in own:
            values = permuted(values, config["num_attention_heads"])
        elif family in PERMUTED and ".attn_k." in own:
            values = permuted(values, config["num_key_value_heads"])
        elif family.startswith("gemma") and own.endswith("norm.weight"):
            values = values + numpy.float32(1)
        if expert is None:
            arrays[own] = values
        else:
            stacks.setdefault(own, {})[expert] = values
    for own, experts in stacks.items():
        arrays[own] = numpy.stack([experts[i] for i in range(len(experts))])
    return arrays


def rope_of(config):
    """(theta, scaling) from either form of the configuration; of the layers that see all keys."""
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    rope = rope.get("full_attention", rope)
    return config.get("rope_theta", rope.get("rope_theta")), rope


def llama3_factors(theta, rope, size):
    """What each frequency is divided by, as in generate_extra_tensors of LlamaModel."""
    frequencies = 1 / theta ** (numpy.arange(0, size, 2, dtype=numpy.float32) / size)
    context, factors = rope["original_max_position_embeddings"], []
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    for frequency in frequencies:
        length = 2 * math.pi / float(frequency)
        smooth = min(max((context / length - low) / (high - low), 0), 1)
        factors.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    return numpy.array(factors, numpy.float32)


def longrope_factor(config, rope):
    scale = config["max_position_embeddings"] / config["original_max_position_embeddings"]
    if scale <= 1:
        return 1.0
    return math.sqrt(1 + math.log(scale) / math.log(config["original_max_position_embeddings"]))


def add_rope(config, keys, arrays, put):
    theta, rope = rope_of(config)
    kind = rope.get("rope_type", "default")
    size = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    if theta and config["model_type"] not in ("phi", "gemma", "gemma2"):
        put("rope.freq_base", float(theta))
    part = config.get("partial_rotary_factor", rope.get("partial_rotary_factor", 1.0))
    put("rope.dimension_count", int(size * part))
    if kind == "linear":
        put("rope.scaling.type", "linear")
        put("rope.scaling.factor", float(rope["factor"]))
    elif kind == "llama3":
        arrays["rope_freqs.weight"] = llama3_factors(theta, rope, size)
    elif kind == "longrope":
        put("rope.scaling.attn_factor", longrope_factor(config, rope))
        for name in ("long", "short"):
            arrays["rope_factors_%s.weight" % name] = numpy.array(rope[name + "_factor"],
                                                                  numpy.float32)
    if config["model_type"] == "phi3":
        put("rope.scaling.original_context_length",
            config.get("original_max_position_embeddings", config["max_position_embeddings"]))


def add_family(config, put):
    family = config["model_type"]
    experts = config.get("num_local_experts") or config.get("num_experts")
    if experts:
        put("expert_count", experts)
        put("expert_used_count", config["num_experts_per_tok"])
    if config.get("moe_intermediate_size"):
        put("expert_feed_forward_length", config["moe_intermediate_size"])
    if family == "granite":
        put("attention.scale", float(config["attention_multiplier"]))
        put("embedding_scale", float(config["embedding_multiplier"]))
        put("residual_scale", float(config["residual_multiplier"]))
        put("logit_scale", float(config["logits_scaling"]))
    if family == "phi3":
        put("attention.sliding_window", config["sliding_window"] or 0)
    if family in ("gemma2", "gemma3_text"):
        put("attention.sliding_window", config["sliding_window"])
        for name in ("attn_logit_softcapping", "final_logit_softcapping"):
            if config.get(name):
                put(name, float(config[name]))


def metadata_of(config, arrays):
    family = config["model_type"]
    architecture = ARCHITECTURES.get(family, family)
    keys = {"general.architecture": architecture, "general.name": "a test's model",
            "general.file_type": 0}

    def put(name, value):
        keys["%s.%s" % (architecture, name)] = value

    put("block_count", config["num_hidden_layers"])
    put("context_length", config["max_position_embeddings"])
    put("embedding_length", config["hidden_size"])
    put("feed_forward_length", config["intermediate_size"])
    put("attention.head_count", config["num_attention_heads"])
    put("attention.head_count_kv", config["num_key_value_heads"])
    put("attention.layer_norm_epsilon" if family == "phi" else "attention.layer_norm_rms_epsilon",
        float(config.get("layer_norm_eps") or config["rms_norm_eps"]))
    if config.get("head_dim"):
        put("attention.key_length", config["head_dim"])
        put("attention.value_length", config["head_dim"])
    put("vocab_size", config["vocab_size"])
    add_rope(config, keys, arrays, put)
    add_family(config, put)
    return keys


def stored(arrays, kind="F32", keep=lambda name: False):
    """Tensors for write(): matrices in the type where its blocks divide their rows, else F32."""
    tensors = {}
    for name, values in arrays.items():
        own = kind if values.ndim > 1 and not keep(name) and \
            values.shape[-1] % gguf_blocks.length(kind) == 0 else "F32"
        tensors[name] = (own, values.shape, gguf_blocks.encode(own, values))
    return tensors


def parts(model):
    """(metadata, arrays) of a Hugging Face directory."""
    config = json.loads((model / "config.json").read_text())
    arrays = arrays_of(model, config)
    return metadata_of(config, arrays), arrays


# -- tokenizers ------------------------------------------------------------------------------------

NORMAL, CONTROL = 1, 3


def byte_level_tokenizer(model, name):
    """tokenizer.ggml.* of a directory with a byte-level tokenizer.json; `name` is llama.cpp's for
    its splitting."""
    tree = json.loads((model / "tokenizer.json").read_text())
    config = json.loads((model / "config.json").read_text())
    tokens = {number: token for token, number in tree["model"]["vocab"].items()}
    special = {token["id"]: token for token in tree["added_tokens"]}
    tokens.update({number: token["content"] for number, token in special.items()})
    merges = [merge if isinstance(merge, str) else " ".join(merge)
              for merge in tree["model"]["merges"]]
    return {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": name,
            "tokenizer.ggml.tokens": [tokens[i] for i in range(len(tokens))],
            "tokenizer.ggml.token_type": [CONTROL if i in special else NORMAL
                                          for i in range(len(tokens))],
            "tokenizer.ggml.merges": merges,
            "tokenizer.ggml.bos_token_id": config["bos_token_id"],
            "tokenizer.ggml.eos_token_id": config["eos_token_id"]}
