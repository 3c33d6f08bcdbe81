#include "partition/family.h"

#include <string.h>

#define LAYER "model.layers.#."

/* Llama's names, which the others share but for what their rows say. */
static const struct tensor_names base_names = {
    .of =
        {
            [TENSOR_EMBEDDING] = "model.embed_tokens",
            [TENSOR_FINAL_NORM] = "model.norm",
            [TENSOR_HEAD] = "lm_head",
            [TENSOR_ATTENTION_NORM] = LAYER "input_layernorm",
            [TENSOR_Q] = LAYER "self_attn.q_proj",
            [TENSOR_K] = LAYER "self_attn.k_proj",
            [TENSOR_V] = LAYER "self_attn.v_proj",
            [TENSOR_Q_NORM] = LAYER "self_attn.q_norm",
            [TENSOR_K_NORM] = LAYER "self_attn.k_norm",
            [TENSOR_O] = LAYER "self_attn.o_proj",
            [TENSOR_ATTENTION_POST_NORM] = LAYER "post_attention_layernorm",
            [TENSOR_FFN_NORM] = LAYER "post_attention_layernorm",
            [TENSOR_GATE] = LAYER "mlp.gate_proj",
            [TENSOR_UP] = LAYER "mlp.up_proj",
            [TENSOR_DOWN] = LAYER "mlp.down_proj",
            [TENSOR_ROUTER] = LAYER "mlp.gate",
            [TENSOR_EXPERT_GATE] = LAYER "mlp.experts.*.gate_proj",
            [TENSOR_EXPERT_UP] = LAYER "mlp.experts.*.up_proj",
            [TENSOR_EXPERT_DOWN] = LAYER "mlp.experts.*.down_proj",
            [TENSOR_FFN_POST_NORM] = LAYER "post_feedforward_layernorm",
        },
};

/* What both forms of Gemma 3 are made of. */
#define GEMMA3                                                                                     \
    .norm_place = NORM_AROUND, .head_norm = HEAD_NORM_EACH, .attention_bias = true,                \
    .activation = "gelu_pytorch_tanh", .tied = true, .norm_eps = 1e-6, .theta = 1e6,               \
    .local_theta = 10000, .head_dim = 256, .windows = WINDOW_PATTERN, .window_absent = 4096,       \
    .window_pattern = 6, .read = family_read_gemma3, .names.norms_less_one = true,                 \
    .names.of[TENSOR_FFN_NORM] = LAYER "pre_feedforward_layernorm"

/* Defaults of absent fields are those of transformers' configuration classes. */
static const struct family families[] = {
    {.model_type = "llama", /* Llama 1 to 3.3, SOLAR, TinyLlama, SmolLM */
     .architecture = "LlamaForCausalLM",
     .attention_bias = true,
     .mlp_bias = true,
     .activation = "silu",
     .norm_eps = 1e-6,
     .theta = 10000},
    {.model_type = "mistral",
     .architecture = "MistralForCausalLM",
     .activation = "silu",
     .norm_eps = 1e-6,
     .theta = 10000,
     .windows = WINDOW_EVERY,
     .window_absent = 4096}, /* published configs carry it: null from v0.2 on */
    {.model_type = "mixtral",
     .architecture = "MixtralForCausalLM",
     .experts = true,
     .activation = "silu",
     .norm_eps = 1e-5,
     .theta = 1e6,
     .windows = WINDOW_EVERY,
     .read = family_read_mixtral,
     .names.of = {[TENSOR_ROUTER] = LAYER "block_sparse_moe.gate",
                  [TENSOR_EXPERT_GATE] = LAYER "block_sparse_moe.experts.*.w1",
                  [TENSOR_EXPERT_UP] = LAYER "block_sparse_moe.experts.*.w3",
                  [TENSOR_EXPERT_DOWN] = LAYER "block_sparse_moe.experts.*.w2"}},
    {.model_type = "phi", /* Phi-1, 1.5 and 2 */
     .architecture = "PhiForCausalLM",
     .norm = NORM_LAYER,
     .parallel = true,
     .ungated = true,
     .biases = BIAS_QKV | BIAS_O | BIAS_FFN | BIAS_HEAD,
     .partial_rotary = true,
     .activation = "gelu_new",
     .norm_eps = 1e-5,
     .theta = 10000,
     .rotary_part = 0.5,
     .names.of = {[TENSOR_FINAL_NORM] = "model.final_layernorm",
                  [TENSOR_O] = LAYER "self_attn.dense",
                  [TENSOR_UP] = LAYER "mlp.fc1",
                  [TENSOR_DOWN] = LAYER "mlp.fc2"}},
    {.model_type = "phi3", /* Phi-3, 3.5 and 4, also mini */
     .architecture = "Phi3ForCausalLM",
     .partial_rotary = true,
     .activation = "silu",
     .norm_eps = 1e-5,
     .theta = 10000,
     .windows = WINDOW_EVERY,
     .names.of = {[TENSOR_Q] = LAYER "self_attn.qkv_proj",
                  [TENSOR_K] = LAYER "self_attn.qkv_proj",
                  [TENSOR_V] = LAYER "self_attn.qkv_proj",
                  [TENSOR_GATE] = LAYER "mlp.gate_up_proj",
                  [TENSOR_UP] = LAYER "mlp.gate_up_proj"}},
    {.model_type = "qwen2", /* Qwen2 and 2.5 */
     .architecture = "Qwen2ForCausalLM",
     .biases = BIAS_QKV,
     .activation = "silu",
     .norm_eps = 1e-6,
     .theta = 10000,
     .windows = WINDOW_UPPER,
     .window_absent = 4096},
    {.model_type = "qwen3",
     .architecture = "Qwen3ForCausalLM",
     .head_norm = HEAD_NORM_EACH,
     .attention_bias = true,
     .activation = "silu",
     .norm_eps = 1e-6,
     .theta = 10000,
     .head_dim = 128,
     .windows = WINDOW_UPPER,
     .window_absent = 4096},
    {.model_type = "qwen3_moe",
     .architecture = "Qwen3MoeForCausalLM",
     .head_norm = HEAD_NORM_EACH,
     .attention_bias = true,
     .experts = true,
     .activation = "silu",
     .norm_eps = 1e-6,
     .theta = 10000,
     .windows = WINDOW_SWITCHED,
     .window_absent = 4096,
     .read = family_read_qwen3_moe},
    {.model_type = "gemma",
     .architecture = "GemmaForCausalLM",
     .attention_bias = true,
     .activation = "gelu_pytorch_tanh",
     .tied = true,
     .norm_eps = 1e-6,
     .theta = 10000,
     .head_dim = 256,
     .read = family_read_gemma,
     .names.norms_less_one = true},
    {.model_type = "gemma2",
     .architecture = "Gemma2ForCausalLM",
     .norm_place = NORM_AROUND,
     .attention_bias = true,
     .activation = "gelu_pytorch_tanh",
     .tied = true,
     .norm_eps = 1e-6,
     .theta = 10000,
     .head_dim = 256,
     .windows = WINDOW_PATTERN,
     .window_absent = 4096,
     .window_pattern = 2,
     .read = family_read_gemma2,
     .names = {.norms_less_one = true,
               .of = {[TENSOR_FFN_NORM] = LAYER "pre_feedforward_layernorm"}}},
    {.model_type = "gemma3_text", .architecture = "Gemma3ForCausalLM", GEMMA3},
    /* With images, which are not read: the text model within. */
    {.model_type = "gemma3",
     .architecture = "Gemma3ForConditionalGeneration",
     .text = "text_config.",
     .heads = 8,
     .kv_heads = 4,
     .vocab = 262208,
     .context = 131072,
     .names.prefix = "language_model.",
     GEMMA3},
    {.model_type = "olmo2",
     .architecture = "Olmo2ForCausalLM",
     .norm_place = NORM_AFTER,
     .head_norm = HEAD_NORM_WIDE,
     .attention_bias = true,
     .activation = "silu",
     .norm_eps = 1e-5,
     .theta = 10000},
    {.model_type = "granite",
     .architecture = "GraniteForCausalLM",
     .attention_bias = true,
     .mlp_bias = true,
     .activation = "silu",
     .norm_eps = 1e-6,
     .theta = 10000,
     .read = family_read_granite},
    {.model_type = "smollm3",
     .architecture = "SmolLM3ForCausalLM",
     .attention_bias = true,
     .mlp_bias = true,
     .activation = "silu",
     .tied = true,
     .norm_eps = 1e-6,
     .theta = 2e6,
     .windows = WINDOW_UNROTATED,
     .read = family_read_smollm3},
};
enum { FAMILIES = sizeof families / sizeof families[0] };

const struct family *family_at(int i) {
    return i < FAMILIES ? &families[i] : NULL;
}

const struct family *family_find(const char *model_type) {
    for (int i = 0; i < FAMILIES; i++)
        if (strcmp(model_type, families[i].model_type) == 0)
            return &families[i];
    return NULL;
}

struct tensor_names family_names(const struct shape *shape) {
    struct tensor_names names = base_names;
    const struct family *family = family_find(shape->family);
    if (shape->is_gguf)
        return gguf_names(shape);
    if (!family)
        return names;
    names.norms_less_one = family->names.norms_less_one;
    names.prefix = family->names.prefix;
    for (int role = 0; role < TENSOR_ROLES; role++)
        if (family->names.of[role])
            names.of[role] = family->names.of[role];
    return names;
}
