#include "partition/shape_named.h"

#include <string.h>

const char shape_names[] =
    "tinyllama-1.1b, llama-2-7b, mistral-7b, solar-10.7b, phi-2 and llama-3.1-8b";

/* What the config.json that was published with the model says of its arithmetic. */
struct named {
    const char *name, *config;
};

static const struct named named[] = {
    /* TinyLlama/TinyLlama-1.1B-Chat-v1.0 */
    {"tinyllama-1.1b",
     "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\","
     "\"hidden_act\": \"silu\", \"hidden_size\": 2048, \"intermediate_size\": 5632,"
     "\"num_hidden_layers\": 22, \"num_attention_heads\": 32, \"num_key_value_heads\": 4,"
     "\"vocab_size\": 32000, \"max_position_embeddings\": 2048, \"rms_norm_eps\": 1e-05,"
     "\"rope_theta\": 10000.0, \"rope_scaling\": null, \"tie_word_embeddings\": false,"
     "\"torch_dtype\": \"bfloat16\"}"},
    /* meta-llama/Llama-2-7b-hf */
    {"llama-2-7b",
     "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\","
     "\"hidden_act\": \"silu\", \"hidden_size\": 4096, \"intermediate_size\": 11008,"
     "\"num_hidden_layers\": 32, \"num_attention_heads\": 32, \"num_key_value_heads\": 32,"
     "\"vocab_size\": 32000, \"max_position_embeddings\": 4096, \"rms_norm_eps\": 1e-05,"
     "\"rope_scaling\": null, \"tie_word_embeddings\": false, \"torch_dtype\": \"float16\"}"},
    /* mistralai/Mistral-7B-v0.1 */
    {"mistral-7b",
     "{\"architectures\": [\"MistralForCausalLM\"], \"model_type\": \"mistral\","
     "\"hidden_act\": \"silu\", \"hidden_size\": 4096, \"intermediate_size\": 14336,"
     "\"num_hidden_layers\": 32, \"num_attention_heads\": 32, \"num_key_value_heads\": 8,"
     "\"vocab_size\": 32000, \"max_position_embeddings\": 32768, \"sliding_window\": 4096,"
     "\"rms_norm_eps\": 1e-05, \"rope_theta\": 10000.0, \"tie_word_embeddings\": false,"
     "\"torch_dtype\": \"bfloat16\"}"},
    /* upstage/SOLAR-10.7B-v1.0 */
    {"solar-10.7b",
     "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\","
     "\"hidden_act\": \"silu\", \"hidden_size\": 4096, \"intermediate_size\": 14336,"
     "\"num_hidden_layers\": 48, \"num_attention_heads\": 32, \"num_key_value_heads\": 8,"
     "\"vocab_size\": 32000, \"max_position_embeddings\": 4096, \"rms_norm_eps\": 1e-05,"
     "\"rope_theta\": 10000.0, \"rope_scaling\": null, \"tie_word_embeddings\": false,"
     "\"torch_dtype\": \"float16\"}"},
    /* microsoft/phi-2 */
    {"phi-2",
     "{\"architectures\": [\"PhiForCausalLM\"], \"model_type\": \"phi\","
     "\"hidden_act\": \"gelu_new\", \"hidden_size\": 2560, \"intermediate_size\": 10240,"
     "\"num_hidden_layers\": 32, \"num_attention_heads\": 32, \"num_key_value_heads\": 32,"
     "\"vocab_size\": 51200, \"max_position_embeddings\": 2048, \"layer_norm_eps\": 1e-05,"
     "\"partial_rotary_factor\": 0.4, \"qk_layernorm\": false, \"rope_theta\": 10000.0,"
     "\"rope_scaling\": null, \"tie_word_embeddings\": false, \"torch_dtype\": \"float16\"}"},
    /* meta-llama/Llama-3.1-8B */
    {"llama-3.1-8b",
     "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\","
     "\"hidden_act\": \"silu\", \"hidden_size\": 4096, \"intermediate_size\": 14336,"
     "\"num_hidden_layers\": 32, \"num_attention_heads\": 32, \"num_key_value_heads\": 8,"
     "\"vocab_size\": 128256, \"max_position_embeddings\": 131072, \"rms_norm_eps\": 1e-05,"
     "\"rope_theta\": 500000.0, \"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8.0,"
     "\"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0,"
     "\"original_max_position_embeddings\": 8192}, \"tie_word_embeddings\": false,"
     "\"torch_dtype\": \"bfloat16\"}"},
};

static const struct named *find(const char *name) {
    for (size_t i = 0; i < sizeof named / sizeof named[0]; i++)
        if (strcmp(name, named[i].name) == 0)
            return &named[i];
    return NULL;
}

bool shape_has_name(const char *name) {
    return find(name) != NULL;
}

enum status shape_named(const char *name, struct shape *shape) {
    const struct named *model = find(name);
    if (!model)
        return status_usage("--shape", "found \"%.200s\", expected one of %s", name, shape_names);
    return shape_parse(model->name, model->config, (int64_t)strlen(model->config), shape);
}
