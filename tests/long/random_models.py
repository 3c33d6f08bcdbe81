"""Random models of random shapes on random meshes of one to eight ranks, against a forward pass in
double that holds every score and takes positions straight from the formula."""
import json
import math

import h5py
import numpy

import quire

CASES = 60
TOLERANCE = 5e-5  # of the largest logit


def pick(random, *choices):
    return choices[random.integers(len(choices))]


def random_config(random):
    kv_heads, group = pick(random, 1, 2, 3, 4, 5), pick(random, 1, 2, 4)
    head_dim = pick(random, 4, 8, 10, 16, 32, 64)
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama",
        "hidden_size": pick(random, 16, 40, 48, 96), "num_hidden_layers": pick(random, 1, 2, 3, 5),
        "num_attention_heads": kv_heads * group, "num_key_value_heads": kv_heads,
        "head_dim": head_dim, "intermediate_size": pick(random, 8, 50, 129, 256),
        "vocab_size": pick(random, 17, 64, 301, 1024), "rms_norm_eps": pick(random, 1e-5, 1e-6),
        "max_position_embeddings": pick(random, 32, 64, 256), "hidden_act": "silu",
        "tie_word_embeddings": bool(random.integers(2)), "torch_dtype": "float32",
        "rope_theta": pick(random, 10000.0, 500000.0)}
    if random.integers(3) == 0:
        config.update({"architectures": ["MistralForCausalLM"], "model_type": "mistral",
                       "sliding_window": pick(random, None, 1, 5, 24, 70)})
    scaling = pick(random, None, "linear", "llama3")
    if scaling:
        config["rope_scaling"] = {"rope_type": scaling, "factor": 4.0}
    if scaling == "llama3":
        config["rope_scaling"].update({"low_freq_factor": 1.0, "high_freq_factor": 4.0,
                                       "original_max_position_embeddings": 16})
    return config


def random_weights(random, config):
    D, F, V = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    H, HK, d = (config[name] for name in ("num_attention_heads", "num_key_value_heads", "head_dim"))
    shapes = {"model.embed_tokens": (V, D)}
    if not config["tie_word_embeddings"]:
        shapes["lm_head"] = (V, D)
    for number in range(config["num_hidden_layers"]):
        layer = "model.layers.%d." % number
        shapes.update({layer + "self_attn.q_proj": (H * d, D), layer + "self_attn.k_proj": (HK * d, D),
                       layer + "self_attn.v_proj": (HK * d, D), layer + "self_attn.o_proj": (D, H * d),
                       layer + "mlp.gate_proj": (F, D), layer + "mlp.up_proj": (F, D),
                       layer + "mlp.down_proj": (D, F)})
    weights = {name: random.normal(0, 1.5 / math.sqrt(shape[1]), shape) for name, shape in
               shapes.items()}
    norms = ["model.norm"] + ["model.layers.%d.%s" % (number, norm)
                              for number in range(config["num_hidden_layers"])
                              for norm in ("input_layernorm", "post_attention_layernorm")]
    weights.update({name: random.normal(1, 0.1, D) for name in norms})
    return {name + ".weight": values.astype(numpy.float32) for name, values in weights.items()}


def frequencies(config):
    """Radians per position: arXiv 2104.09864, and the scalings as the config's fields define them."""
    d, scaling = config["head_dim"], config.get("rope_scaling")
    plain = config["rope_theta"] ** (-numpy.arange(0, d, 2) / d)
    if not scaling:
        return plain
    if scaling["rope_type"] == "linear":
        return plain / scaling["factor"]
    turns = scaling["original_max_position_embeddings"] * plain / (2 * math.pi)
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    kept = numpy.clip((turns - low) / (high - low), 0, 1)
    return (1 - kept) * plain / scaling["factor"] + kept * plain


def logits(config, weights, ids, group, window):
    """The forward pass, in double; group None is plain attention, with the config's window."""
    w = {name: values.astype(float) for name, values in weights.items()}
    H, HK, d = (config[name] for name in ("num_attention_heads", "num_key_value_heads", "head_dim"))
    T = len(ids)
    i, j = numpy.mgrid[:T, :T]
    distance = i - j
    seen = j <= i
    if not group and config.get("sliding_window"):
        seen &= distance < config["sliding_window"]
    if group:
        far = i // group + window - window // group - j // group
        distance = numpy.where(distance < window, distance, far)
    turn = numpy.exp(1j * numpy.maximum(distance, 0)[..., None] * frequencies(config))

    def norm(x, name):
        scale = numpy.sqrt((x * x).mean(axis=1, keepdims=True) + config["rms_norm_eps"])
        return x / scale * w[name + ".weight"]

    x = w["model.embed_tokens.weight"][ids]
    for number in range(config["num_hidden_layers"]):
        layer = "model.layers.%d." % number
        h = norm(x, layer + "input_layernorm")
        q, k, v = (h @ w[layer + "self_attn.%s_proj.weight" % name].T for name in "qkv")
        out = numpy.zeros((T, H * d))
        for head in range(H):
            at = head * HK // H * d
            first, second = slice(0, d // 2), slice(d // 2, d)
            qh, kh = q[:, head * d:(head + 1) * d], k[:, at:at + d]
            qc, kc = qh[:, first] + 1j * qh[:, second], kh[:, first] + 1j * kh[:, second]
            scores = numpy.einsum("ic,jc,ijc->ij", qc, kc.conj(), turn, optimize=True).real
            scores = numpy.where(seen, scores / math.sqrt(d), -numpy.inf)
            shares = numpy.exp(scores - scores.max(axis=1, keepdims=True))
            shares /= shares.sum(axis=1, keepdims=True)
            out[:, head * d:(head + 1) * d] = shares @ v[:, at:at + d]
        x = x + out @ w[layer + "self_attn.o_proj.weight"].T
        h = norm(x, layer + "post_attention_layernorm")
        gate = h @ w[layer + "mlp.gate_proj.weight"].T
        up = h @ w[layer + "mlp.up_proj.weight"].T
        x = x + gate / (1 + numpy.exp(-gate)) * up @ w[layer + "mlp.down_proj.weight"].T
    head = "model.embed_tokens" if config["tie_word_embeddings"] else "lm_head"
    return norm(x, "model.norm") @ w[head + ".weight"].T


class RandomModels(quire.Case):
    def save(self, config, weights):
        header, at = {}, 0
        for name, values in weights.items():
            header[name] = {"dtype": "F32", "shape": list(values.shape),
                            "data_offsets": [at, at + values.nbytes]}
            at += values.nbytes
        self.write("config.json", json.dumps(config))
        self.write("model.safetensors", quire.pack_safetensors(
            header, b"".join(values.tobytes() for values in weights.values())))

    def check(self, seed):
        random = numpy.random.default_rng(seed)
        config = random_config(random)
        weights = random_weights(random, config)
        self.save(config, weights)
        length = int(pick(random, 1, 2, 61, 64, 129, 251, 300))
        window = int(random.integers(1, 80))
        group = pick(random, None, 1, 2, 3, 5, 8, 16)
        ids = random.integers(0, config["vocab_size"], length)
        ranks = int(random.integers(1, 9))
        mesh = pick(random, *quire.meshes(ranks, config["num_hidden_layers"]))
        chunk = int(pick(random, 1, 7, 32, 100, 512))
        method = ["--group", group, "--window", window] if group else ["--no-self-extend"]
        output = self.directory / "logits.h5"
        quire.run("capture", "-m", self.directory, "--tokens", self.write_tokens("ids", ids), "-o",
                  output, "--sites", "logits", *quire.EXACT, "--chunk", chunk, "--mesh", mesh,
                  *method, ranks=ranks)
        with h5py.File(output) as file:
            self.assert_close(file["logits"][:], logits(config, weights, ids, group, window),
                              TOLERANCE, what="seed %d: %s, %s, chunk %d, %s, %d tokens" %
                              (seed, mesh, method, chunk, config, length))

    def test_random_models(self):
        for seed in range(CASES):
            with self.subTest(seed=seed):
                self.check(seed)


if __name__ == "__main__":
    quire.main()
