/* What the tensors are called in GGUF files: llama.cpp's names, the same for every family but for
 * where a norm stands. */
#include "partition/family.h"
#include "partition/gguf_config.h"

#include <string.h>

#define LAYER "blk.#."

static const struct tensor_names names_of_gguf = {
    .of =
        {
            [TENSOR_EMBEDDING] = "token_embd",
            [TENSOR_FINAL_NORM] = "output_norm",
            [TENSOR_HEAD] = "output",
            [TENSOR_ATTENTION_NORM] = LAYER "attn_norm",
            [TENSOR_Q] = LAYER "attn_q",
            [TENSOR_K] = LAYER "attn_k",
            [TENSOR_V] = LAYER "attn_v",
            [TENSOR_Q_NORM] = LAYER "attn_q_norm",
            [TENSOR_K_NORM] = LAYER "attn_k_norm",
            [TENSOR_O] = LAYER "attn_output",
            [TENSOR_ATTENTION_POST_NORM] = LAYER "post_attention_norm",
            [TENSOR_FFN_NORM] = LAYER "ffn_norm",
            [TENSOR_GATE] = LAYER "ffn_gate",
            [TENSOR_UP] = LAYER "ffn_up",
            [TENSOR_DOWN] = LAYER "ffn_down",
            [TENSOR_ROUTER] = LAYER "ffn_gate_inp",
            [TENSOR_EXPERT_GATE] = LAYER "ffn_gate_exps",
            [TENSOR_EXPERT_UP] = LAYER "ffn_up_exps",
            [TENSOR_EXPERT_DOWN] = LAYER "ffn_down_exps",
            [TENSOR_FFN_POST_NORM] = LAYER "post_ffw_norm",
        },
};

/* Norms that Hugging Face's files hold less one are whole here: the converter adds it. */
struct tensor_names gguf_names(const struct shape *shape) {
    struct tensor_names names = names_of_gguf;
    names.pairs_adjacent = gguf_pairs_adjacent(shape->family);
    if (shape->fused_qkv)
        names.of[TENSOR_Q] = names.of[TENSOR_K] = names.of[TENSOR_V] = LAYER "attn_qkv";
    if (strcmp(shape->family, "phi3") == 0)
        names.of[TENSOR_GATE] = names.of[TENSOR_UP];
    if (shape->experts_apart) { /* as the first files of Mixtral have them */
        names.of[TENSOR_EXPERT_GATE] = LAYER "ffn_gate.*";
        names.of[TENSOR_EXPERT_UP] = LAYER "ffn_up.*";
        names.of[TENSOR_EXPERT_DOWN] = LAYER "ffn_down.*";
    }
    return names;
}
