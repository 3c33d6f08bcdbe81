#include "partition/json.h"
#include "partition/shape.h"
#include "tests/testing.h"

/* The published config of Llama-2-7b-hf, which names no rope_theta, as a base to change. */
static const char base[] =
    "{\"architectures\": [\"LlamaForCausalLM\"], \"bos_token_id\": 1, \"eos_token_id\": 2,"
    " \"hidden_act\": \"silu\", \"hidden_size\": 4096, \"initializer_range\": 0.02,"
    " \"intermediate_size\": 11008, \"max_position_embeddings\": 4096, \"model_type\": \"llama\","
    " \"num_attention_heads\": 32, \"num_hidden_layers\": 32, \"num_key_value_heads\": 32,"
    " \"pretraining_tp\": 1, \"rms_norm_eps\": 1e-05, \"rope_scaling\": null,"
    " \"tie_word_embeddings\": false, \"torch_dtype\": \"float16\","
    " \"transformers_version\": \"4.31.0.dev0\", \"use_cache\": true, \"vocab_size\": 32000}";

/* The base with the fields of `patch` set and those named in `without` (spaces between) left out.
 */
static char *patched(const char *patch, const char *without) {
    json_t *root = json_loads(base, 0, NULL), *changes = json_loads(patch, 0, NULL);
    ck_assert_msg(root && changes, "the test's own JSON is wrong: %s", patch);
    ck_assert_int_eq(json_object_update(root, changes), 0);
    char names[256];
    snprintf(names, sizeof names, "%s", without);
    for (char *name = strtok(names, " "); name; name = strtok(NULL, " "))
        ck_assert_int_eq(json_object_del(root, name), 0);
    char *text = json_dumps(root, 0);
    json_decref(root);
    json_decref(changes);
    return text;
}

static enum status parse(const char *text, struct shape *shape) {
    status_adopt("");
    return shape_parse("m/config.json", text, (int64_t)strlen(text), shape);
}

static struct shape accept(const char *patch, const char *without) {
    struct shape shape;
    char *text = patched(patch, without);
    enum status status = parse(text, &shape);
    ck_assert_msg(status == STATUS_OK, "%s without %s: %s", patch, without, status_text());
    free(text);
    return shape;
}

/* The message must name the file, and hold `words`. */
static void check_refusal(enum status status, const char *what, const char *words) {
    ck_assert_msg(status == STATUS_FAILED, "%s: not refused", what);
    ck_assert_msg(strstr(status_text(), "config.json: ") != NULL, "%s: %s", what, status_text());
    ck_assert_msg(strstr(status_text(), words) != NULL, "%s: %s", what, status_text());
    ck_assert_msg(strstr(status_text(), "expected ") != NULL, "%s: %s", what, status_text());
}

static void refuse(const char *patch, const char *without, const char *words) {
    struct shape shape;
    char *text = patched(patch, without);
    check_refusal(parse(text, &shape), text, words);
    free(text);
}

START_TEST(published_llama2) {
    struct shape s = accept("{}", "");
    ck_assert_str_eq(s.family, "llama");
    ck_assert_int_eq(s.layers, 32);
    ck_assert_int_eq(s.hidden, 4096);
    ck_assert_int_eq(s.heads, 32);
    ck_assert_int_eq(s.kv_heads, 32);
    ck_assert_int_eq(s.head_dim, 128);
    ck_assert_int_eq(s.ffn, 11008);
    ck_assert_int_eq(s.vocab, 32000);
    ck_assert_int_eq(s.context, 4096);
    ck_assert_int_eq(s.sliding_window, 0);
    ck_assert_double_eq(s.norm_eps, 1e-5);
    ck_assert(!s.tied);
    ck_assert_int_eq(s.rope.type, ROPE_DEFAULT);
    ck_assert_double_eq(s.rope.theta, 10000);
    ck_assert_str_eq(s.dtype, "float16");
}
END_TEST

/* Numbers of parameters as the models' publishers state them. */
START_TEST(published_parameters) {
    struct shape s = accept("{}", "");
    ck_assert_int_eq(shape_parameters(&s), 6738415616); /* Llama-2-7B */
    s = accept("{\"num_key_value_heads\": 8, \"intermediate_size\": 14336, \"vocab_size\": 128256}",
               "");
    ck_assert_int_eq(shape_parameters(&s), 8030261248); /* Llama-3-8B */
    s = accept("{\"num_key_value_heads\": 8, \"intermediate_size\": 14336}", "");
    ck_assert_int_eq(shape_parameters(&s), 7241732096); /* Mistral-7B */
    s = accept("{\"hidden_size\": 2048, \"num_hidden_layers\": 22, \"num_key_value_heads\": 4,"
               " \"intermediate_size\": 5632}",
               "");
    ck_assert_int_eq(shape_parameters(&s), 1100048384); /* TinyLlama-1.1B */
    s = accept("{\"hidden_size\": 576, \"num_hidden_layers\": 30, \"num_attention_heads\": 9,"
               " \"num_key_value_heads\": 3, \"intermediate_size\": 1536, \"vocab_size\": 49152,"
               " \"tie_word_embeddings\": true}",
               "");
    ck_assert_int_eq(shape_parameters(&s), 134515008); /* SmolLM-135M */
}
END_TEST

/* Configs of published models, what does not count left out, and the number of parameters that
 * their publishers' files hold. */
static struct shape published(const char *text) {
    struct shape shape;
    ck_assert_msg(parse(text, &shape) == STATUS_OK, "%s: %s", text, status_text());
    return shape;
}

START_TEST(published_phi2) {
    struct shape s = published(
        "{\"architectures\": [\"PhiForCausalLM\"], \"embd_pdrop\": 0.0, \"hidden_act\": "
        "\"gelu_new\","
        " \"hidden_size\": 2560, \"intermediate_size\": 10240, \"layer_norm_eps\": 1e-05,"
        " \"max_position_embeddings\": 2048, \"model_type\": \"phi\", \"num_attention_heads\": 32,"
        " \"num_hidden_layers\": 32, \"num_key_value_heads\": 32, \"partial_rotary_factor\": 0.4,"
        " \"qk_layernorm\": false, \"rope_scaling\": null, \"rope_theta\": 10000.0,"
        " \"tie_word_embeddings\": false, \"torch_dtype\": \"float16\", \"vocab_size\": 51200}");
    ck_assert_int_eq(shape_parameters(&s), 2779683840);
    ck_assert_int_eq(s.head_dim, 80);
    ck_assert_int_eq(s.rotary_dim, 32);
    ck_assert_int_eq(s.biases, BIAS_QKV | BIAS_O | BIAS_FFN | BIAS_HEAD);
    ck_assert(s.parallel && s.ungated && s.norm == NORM_LAYER);
    ck_assert_int_eq(s.activation, ACTIVATION_GELU_TANH);
}
END_TEST

START_TEST(published_phi3) {
    char text[4096] =
        "{\"architectures\": [\"Phi3ForCausalLM\"], \"hidden_act\": \"silu\", \"hidden_size\": "
        "3072,"
        " \"intermediate_size\": 8192, \"max_position_embeddings\": 131072, \"model_type\": "
        "\"phi3\","
        " \"num_attention_heads\": 32, \"num_hidden_layers\": 32, \"num_key_value_heads\": 32,"
        " \"original_max_position_embeddings\": 4096, \"rms_norm_eps\": 1e-05, \"rope_theta\": "
        "10000.0,"
        " \"sliding_window\": 262144, \"tie_word_embeddings\": false, \"vocab_size\": 32064,"
        " \"rope_scaling\": {\"type\": \"su\", \"short_factor\": [1";
    for (int i = 1; i < 48; i++)
        strcat(text, ", 1.5");
    strcat(text, "], \"long_factor\": [1");
    for (int i = 1; i < 48; i++)
        strcat(text, ", 30");
    strcat(text, "]}}");
    struct shape s = published(text);
    ck_assert_int_eq(shape_parameters(&s), 3821079552);
    ck_assert_int_eq(s.rope.type, ROPE_LONGROPE);
    ck_assert_int_eq(s.rope.original_context, 4096);
    ck_assert_double_eq_tol(s.rope.attention_factor, sqrt(1 + log(32) / log(4096)), 1e-15);
    ck_assert_double_eq(s.rope.short_factor[47], 1.5);
    ck_assert_double_eq(s.rope.long_factor[47], 30);
    ck_assert_int_eq(s.sliding_window, 262144);
}
END_TEST

START_TEST(published_qwen) {
    struct shape s = published(
        "{\"architectures\": [\"Qwen2ForCausalLM\"], \"hidden_act\": \"silu\", \"hidden_size\": "
        "3584,"
        " \"intermediate_size\": 18944, \"max_position_embeddings\": 32768, \"max_window_layers\": "
        "28,"
        " \"model_type\": \"qwen2\", \"num_attention_heads\": 28, \"num_hidden_layers\": 28,"
        " \"num_key_value_heads\": 4, \"rms_norm_eps\": 1e-06, \"rope_theta\": 1000000.0,"
        " \"sliding_window\": 131072, \"tie_word_embeddings\": false, \"use_sliding_window\": "
        "false,"
        " \"vocab_size\": 152064}");
    ck_assert_int_eq(shape_parameters(&s), 7615616512); /* Qwen2.5-7B */
    ck_assert_int_eq(s.sliding_window, 0);
    s = published(
        "{\"architectures\": [\"Qwen3MoeForCausalLM\"], \"attention_bias\": false,"
        " \"decoder_sparse_step\": 1, \"head_dim\": 128, \"hidden_act\": \"silu\","
        " \"hidden_size\": 2048, \"intermediate_size\": 6144, \"max_position_embeddings\": 40960,"
        " \"max_window_layers\": 48, \"mlp_only_layers\": [], \"model_type\": \"qwen3_moe\","
        " \"moe_intermediate_size\": 768, \"norm_topk_prob\": true, \"num_attention_heads\": 32,"
        " \"num_experts\": 128, \"num_experts_per_tok\": 8, \"num_hidden_layers\": 48,"
        " \"num_key_value_heads\": 4, \"rms_norm_eps\": 1e-06, \"rope_scaling\": null,"
        " \"rope_theta\": 1000000.0, \"sliding_window\": null, \"tie_word_embeddings\": false,"
        " \"use_sliding_window\": false, \"vocab_size\": 151936}");
    ck_assert_int_eq(shape_parameters(&s), 30532122624); /* Qwen3-30B-A3B */
    ck_assert_int_eq(s.experts, 128);
    ck_assert_int_eq(s.experts_used, 8);
    ck_assert(s.experts_normalised);
}
END_TEST

START_TEST(published_mixtral) {
    struct shape s = published(
        "{\"architectures\": [\"MixtralForCausalLM\"], \"hidden_act\": \"silu\", \"hidden_size\": "
        "4096,"
        " \"intermediate_size\": 14336, \"max_position_embeddings\": 32768, \"model_type\": "
        "\"mixtral\","
        " \"num_attention_heads\": 32, \"num_experts_per_tok\": 2, \"num_hidden_layers\": 32,"
        " \"num_key_value_heads\": 8, \"num_local_experts\": 8, \"rms_norm_eps\": 1e-05,"
        " \"rope_theta\": 1000000.0, \"sliding_window\": null, \"tie_word_embeddings\": false,"
        " \"vocab_size\": 32000}");
    ck_assert_int_eq(shape_parameters(&s), 46702792704);
    ck_assert_int_eq(s.sliding_window, 0);
    ck_assert_int_eq(s.head_dim, 128);
}
END_TEST

START_TEST(published_gemma) {
    struct shape s = published(
        "{\"architectures\": [\"Gemma2ForCausalLM\"], \"attn_logit_softcapping\": 50.0,"
        " \"final_logit_softcapping\": 30.0, \"head_dim\": 256, \"hidden_act\": "
        "\"gelu_pytorch_tanh\","
        " \"hidden_activation\": \"gelu_pytorch_tanh\", \"hidden_size\": 3584,"
        " \"intermediate_size\": 14336, \"max_position_embeddings\": 8192, \"model_type\": "
        "\"gemma2\","
        " \"num_attention_heads\": 16, \"num_hidden_layers\": 42, \"num_key_value_heads\": 8,"
        " \"query_pre_attn_scalar\": 256, \"rms_norm_eps\": 1e-06, \"rope_theta\": 10000.0,"
        " \"sliding_window\": 4096, \"sliding_window_size\": 4096, \"vocab_size\": 256000}");
    ck_assert_int_eq(shape_parameters(&s), 9241705984); /* gemma-2-9b */
    ck_assert(s.tied);
    for (int l = 0; l < 42; l++)
        ck_assert(shape_layer_is(&s, l, LAYER_SEES_ALL) == (l % 2 == 1));
    /* gemma-3-4b: the text model within one with images; most of it is the class's defaults. */
    s = published(
        "{\"architectures\": [\"Gemma3ForConditionalGeneration\"], \"eos_token_id\": [1, 106],"
        " \"model_type\": \"gemma3\", \"text_config\": {\"hidden_size\": 2560,"
        " \"intermediate_size\": 10240, \"model_type\": \"gemma3_text\", \"num_hidden_layers\": 34,"
        " \"rope_scaling\": {\"factor\": 8.0, \"rope_type\": \"linear\"}, \"sliding_window\": "
        "1024},"
        " \"torch_dtype\": \"bfloat16\", \"vision_config\": {\"hidden_size\": 1152}}");
    ck_assert_int_eq(shape_parameters(&s), 3880263168);
    ck_assert_int_eq(s.heads, 8);
    ck_assert_int_eq(s.kv_heads, 4);
    ck_assert_int_eq(s.head_dim, 256);
    ck_assert_int_eq(s.context, 131072);
    ck_assert_int_eq(s.sliding_window, 1024);
    ck_assert_double_eq(s.rope.theta, 1e6);
    ck_assert_double_eq(s.rope.factor, 8);
    ck_assert(s.has_local_rope);
    ck_assert_double_eq(s.rope_local.theta, 10000);
    for (int l = 0; l < 34; l++)
        ck_assert(shape_layer_is(&s, l, LAYER_SEES_ALL) == (l % 6 == 5));
}
END_TEST

START_TEST(published_others) {
    struct shape s = published(
        "{\"architectures\": [\"SmolLM3ForCausalLM\"], \"attention_bias\": false,"
        " \"hidden_act\": \"silu\", \"hidden_size\": 2048, \"intermediate_size\": 11008,"
        " \"max_position_embeddings\": 65536, \"mlp_bias\": false, \"model_type\": \"smollm3\","
        " \"no_rope_layer_interval\": 4, \"num_attention_heads\": 16, \"num_hidden_layers\": 36,"
        " \"num_key_value_heads\": 4, \"rms_norm_eps\": 1e-06, \"rope_scaling\": null,"
        " \"rope_theta\": 5000000.0, \"sliding_window\": null, \"use_sliding_window\": false,"
        " \"vocab_size\": 128256}");
    ck_assert_int_eq(shape_parameters(&s), 3075098624);
    for (int l = 0; l < 36; l++)
        ck_assert(shape_layer_is(&s, l, LAYER_UNROTATED) == (l % 4 == 3));
    s = published(
        "{\"architectures\": [\"Olmo2ForCausalLM\"], \"attention_bias\": false,"
        " \"hidden_act\": \"silu\", \"hidden_size\": 4096, \"intermediate_size\": 11008,"
        " \"max_position_embeddings\": 4096, \"model_type\": \"olmo2\", \"num_attention_heads\": "
        "32,"
        " \"num_hidden_layers\": 32, \"num_key_value_heads\": 32, \"rms_norm_eps\": 1e-06,"
        " \"rope_theta\": 500000, \"tie_word_embeddings\": false, \"vocab_size\": 100352}");
    ck_assert_int_eq(shape_parameters(&s), 7298617344); /* OLMo-2-1124-7B */
}
END_TEST

START_TEST(family_refusals) {
    static const struct {
        const char *patch, *words;
    } cases[] = {
        {"{\"model_type\": \"phi\", \"partial_rotary_factor\": 0.01}",
         "partial_rotary_factor: found 0.01, expected an even part "},
        {"{\"model_type\": \"phi\", \"partial_rotary_factor\": 1.5}",
         "partial_rotary_factor: found 1.5, expected an even part "},
        {"{\"model_type\": \"phi\", \"partial_rotary_factor\": 0.4, \"rope_parameters\":"
         " {\"partial_rotary_factor\": 0.5}}",
         "rope_parameters.partial_rotary_factor: found 0.5, expected 0.4 as in "},
        {"{\"model_type\": \"phi3\", \"original_max_position_embeddings\": 4096, \"rope_scaling\":"
         " {\"type\": \"longrope\", \"short_factor\": [1], \"long_factor\": [1]}}",
         "rope_scaling.short_factor: found a list of 1, expected a list of 64 numbers"},
        {"{\"model_type\": \"phi3\", \"original_max_position_embeddings\": 4096, \"head_dim\": 4,"
         " \"rope_scaling\": {\"type\": \"su\", \"short_factor\": [1, 1], \"long_factor\": [1, "
         "-2]}}",
         "rope_scaling.long_factor: found -2, expected positive numbers "},
        {"{\"model_type\": \"phi3\", \"rope_scaling\": {\"type\": \"longrope\","
         " \"short_mscale\": 1.2}}",
         "rope_scaling.short_mscale: found 1.2, expected nothing; "},
        {"{\"model_type\": \"gemma2\", \"layer_types\": [\"full_attention\"]}",
         "layer_types: found a list of 1, expected a list of 32"},
        {"{\"model_type\": \"gemma2\", \"attn_logit_softcapping\": 0}",
         "attn_logit_softcapping: found 0, "},
        {"{\"model_type\": \"gemma2\", \"query_pre_attn_scalar\": -1}",
         "query_pre_attn_scalar: found -1, "},
        {"{\"model_type\": \"gemma3_text\", \"rope_local_base_freq\": 5000, \"rope_parameters\":"
         " {\"full_attention\": {\"rope_theta\": 1e6}, \"sliding_attention\": {\"rope_theta\": "
         "1e4}}}",
         "rope_local_base_freq: found 5000, expected 10000 as in "},
        {"{\"model_type\": \"gemma3\"}", "text_config.num_hidden_layers: found nothing, "},
        {"{\"model_type\": \"granite\", \"logits_scaling\": 0}", "logits_scaling: found 0, "},
        {"{\"model_type\": \"smollm3\", \"no_rope_layers\": [1, 0]}",
         "no_rope_layers: found a list of 2, "},
        {"{\"model_type\": \"smollm3\", \"num_hidden_layers\": 1, \"no_rope_layers\": [2]}",
         "no_rope_layers: found 2, expected 1 or 0 "},
        {"{\"model_type\": \"mixtral\"}", "num_local_experts: found nothing, "},
        {"{\"model_type\": \"mixtral\", \"num_local_experts\": 8, \"num_experts_per_tok\": 9}",
         "num_experts_per_tok: found 9, "},
        {"{\"model_type\": \"mixtral\", \"num_local_experts\": 8, \"num_experts\": 4,"
         " \"num_experts_per_tok\": 2}",
         "num_experts: found 4, expected 8 as in num_local_experts"},
        {"{\"model_type\": \"qwen3_moe\", \"num_experts\": 8, \"num_experts_per_tok\": 2,"
         " \"moe_intermediate_size\": 64, \"mlp_only_layers\": [-1]}",
         "mlp_only_layers: found -1, "},
        {"{\"model_type\": \"qwen2\", \"use_sliding_window\": true, \"max_window_layers\": 0,"
         " \"sliding_window\": 0}",
         "sliding_window: found 0, "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        refuse(cases[i].patch, "architectures", cases[i].words);
}
END_TEST

START_TEST(windows_by_layer) {
    struct shape s = accept("{\"model_type\": \"qwen2\", \"use_sliding_window\": true,"
                            " \"max_window_layers\": 20, \"sliding_window\": 24}",
                            "architectures");
    ck_assert_int_eq(s.sliding_window, 24);
    for (int l = 0; l < 32; l++)
        ck_assert(shape_layer_is(&s, l, LAYER_SEES_ALL) == (l < 20));
    /* The layers from 28 on, when the file does not say; none of 20 then. */
    s = accept("{\"model_type\": \"qwen2\", \"use_sliding_window\": true,"
               " \"num_hidden_layers\": 20}",
               "architectures");
    ck_assert_int_eq(s.sliding_window, 0);
    ck_assert(!shape_layer_is(&s, 0, LAYER_SEES_ALL));
    s = accept("{\"model_type\": \"gemma3_text\", \"sliding_window_pattern\": 4}", "architectures");
    ck_assert_int_eq(s.sliding_window, 4096);
    ck_assert(shape_layer_is(&s, 3, LAYER_SEES_ALL) && !shape_layer_is(&s, 4, LAYER_SEES_ALL));
    s = accept("{\"model_type\": \"phi3\", \"sliding_window\": 2047}", "architectures");
    ck_assert_int_eq(s.sliding_window, 2047);
    s = accept("{\"model_type\": \"gemma2\", \"final_logit_softcapping\": null}", "architectures");
    ck_assert_double_eq(s.score_cap, 50);
    ck_assert_double_eq(s.logit_cap, 0);
    s = accept("{\"attention_bias\": true, \"mlp_bias\": true}", "");
    ck_assert_int_eq(s.biases, BIAS_QKV | BIAS_O | BIAS_FFN);
}
END_TEST

START_TEST(defaults_of_absent_fields) {
    struct shape s = accept("{\"head_dim\": null}",
                            "hidden_act num_key_value_heads tie_word_embeddings rms_norm_eps "
                            "torch_dtype rope_scaling architectures");
    ck_assert_int_eq(s.kv_heads, 32);
    ck_assert_int_eq(s.head_dim, 128);
    ck_assert(!s.tied);
    ck_assert_double_eq(s.norm_eps, 1e-6);
    ck_assert_double_eq(s.rope.theta, 10000);
    ck_assert_str_eq(s.dtype, "");
    /* A head size of its own, not hidden_size / num_attention_heads. */
    s = accept("{\"head_dim\": 96, \"hidden_size\": 4097}", "");
    ck_assert_int_eq(s.head_dim, 96);
}
END_TEST

START_TEST(sliding_windows) {
    static const char mistral[] =
        "{\"model_type\": \"mistral\", \"architectures\": [\"MistralForCausalLM\"]}";
    ck_assert_int_eq(accept(mistral, "").sliding_window, 4096);
    static const char with_null[] = "{\"model_type\": \"mistral\", \"sliding_window\": null}";
    ck_assert_int_eq(accept(with_null, "architectures").sliding_window, 0);
    static const char with_24[] = "{\"model_type\": \"mistral\", \"sliding_window\": 24}";
    ck_assert_int_eq(accept(with_24, "architectures").sliding_window, 24);
    ck_assert_int_eq(accept("{\"sliding_window\": 24}", "").sliding_window, 0);
    refuse("{\"model_type\": \"mistral\", \"sliding_window\": 0}", "architectures",
           "sliding_window: found 0, ");
    refuse("{\"model_type\": \"mistral\", \"sliding_window\": \"24\"}", "architectures",
           "sliding_window: found \"24\", ");
}
END_TEST

static void check_llama3(const struct rope *rope) {
    ck_assert_int_eq(rope->type, ROPE_LLAMA3);
    ck_assert_double_eq(rope->theta, 500000);
    ck_assert_double_eq(rope->factor, 8);
    ck_assert_double_eq(rope->low_freq_factor, 1);
    ck_assert_double_eq(rope->high_freq_factor, 4);
    ck_assert_int_eq(rope->original_context, 8192);
}

#define LLAMA3_FACTORS "\"factor\": 8.0, \"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0"
#define LLAMA3 LLAMA3_FACTORS ", \"original_max_position_embeddings\": 8192"

START_TEST(rope_forms) {
    struct shape s = accept("{\"rope_theta\": 500000.0, \"rope_scaling\": {" LLAMA3
                            ", \"rope_type\": \"llama3\"}}",
                            "");
    check_llama3(&s.rope);
    s = accept("{\"rope_parameters\": {\"rope_theta\": 500000.0, " LLAMA3
               ", \"rope_type\": \"llama3\"}}",
               "");
    check_llama3(&s.rope);
    s = accept(
        "{\"rope_theta\": 500000, \"rope_scaling\": {" LLAMA3
        ", \"rope_theta\": 500000.0, \"rope_type\": \"llama3\"}, \"rope_parameters\": {" LLAMA3
        ", \"rope_theta\": 500000.0, \"rope_type\": \"llama3\"}}",
        "");
    check_llama3(&s.rope);
    s = accept("{\"rope_theta\": 500000.0, \"original_max_position_embeddings\": 8192,"
               " \"rope_scaling\": {" LLAMA3_FACTORS ", \"rope_type\": \"llama3\"}}",
               "");
    check_llama3(&s.rope);
    s = accept("{\"rope_scaling\": {\"type\": \"linear\", \"factor\": 4}}", "");
    ck_assert_int_eq(s.rope.type, ROPE_LINEAR);
    ck_assert_double_eq(s.rope.factor, 4);
    s = accept("{\"rope_parameters\": {\"rope_theta\": 20000, \"rope_type\": \"default\","
               " \"partial_rotary_factor\": 1.0}}",
               "");
    ck_assert_int_eq(s.rope.type, ROPE_DEFAULT);
    ck_assert_double_eq(s.rope.theta, 20000);
}
END_TEST

START_TEST(rope_refusals) {
    static const struct {
        const char *patch, *words;
    } cases[] = {
        {"{\"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4.0}}",
         "rope_scaling.rope_type: found \"yarn\", expected one of default, linear, llama3, "
         "longrope; "},
        {"{\"rope_scaling\": {\"type\": \"dynamic\", \"factor\": 2.0}}",
         "rope_scaling.type: found \"dynamic\", expected one of default, linear, llama3, "
         "longrope; "},
        {"{\"rope_parameters\": {\"rope_type\": \"longrope\"}}",
         "rope_parameters.original_max_position_embeddings: found nothing, "},
        {"{\"rope_scaling\": {\"rope_type\": \"linear\", \"type\": \"llama3\", \"factor\": 2}}",
         "rope_scaling.type: found \"llama3\", expected \"linear\" "},
        {"{\"rope_scaling\": {\"factor\": 2.0}}", "rope_scaling.rope_type: found nothing, "},
        {"{\"rope_scaling\": {\"rope_type\": 3}}", "rope_scaling.rope_type: found 3, "},
        {"{\"rope_scaling\": {\"rope_type\": \"linear\"}}", "rope_scaling.factor: found nothing, "},
        {"{\"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": \"2\"}}",
         "rope_scaling.factor: found \"2\", "},
        {"{\"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 0}}",
         "rope_scaling.factor: found 0, "},
        {"{\"rope_scaling\": \"linear\"}", "rope_scaling: found \"linear\", "},
        {"{\"rope_parameters\": [1]}", "rope_parameters: found a list of 1, "},
        {"{\"rope_parameters\": {\"full_attention\": {\"rope_theta\": 1e6}}}",
         "rope_parameters.full_attention: found an object "},
        {"{\"rope_scaling\": {" LLAMA3_FACTORS ", \"rope_type\": \"llama3\"}}",
         "rope_scaling.original_max_position_embeddings: found nothing, "},
        {"{\"original_max_position_embeddings\": 4096, \"rope_scaling\": {" LLAMA3
         ", \"rope_type\": \"llama3\"}}",
         "rope_scaling.original_max_position_embeddings: found 8192, expected 4096 "},
        {"{\"rope_scaling\": {\"factor\": 8.0, \"low_freq_factor\": 4.0, \"high_freq_factor\": 4.0,"
         " \"original_max_position_embeddings\": 8192, \"rope_type\": \"llama3\"}}",
         "rope_scaling.high_freq_factor: found 4, expected more than "},
        {"{\"rope_scaling\": {\"factor\": 8.0, \"low_freq_factor\": 0, \"high_freq_factor\": 4.0,"
         " \"original_max_position_embeddings\": 8192, \"rope_type\": \"llama3\"}}",
         "rope_scaling.low_freq_factor: found 0, "},
        {"{\"rope_theta\": 500000.0, \"rope_parameters\": {\"rope_theta\": 10000.0}}",
         "rope_theta: found 500000, expected 10000 as in rope_parameters.rope_theta"},
        {"{\"rope_scaling\": {\"rope_theta\": 7.5}, \"rope_parameters\": {\"rope_theta\": "
         "10000.0}}",
         "rope_scaling.rope_theta: found 7.5, expected 10000 as in rope_parameters.rope_theta"},
        {"{\"rope_theta\": 500000.0, \"rope_scaling\": {\"rope_theta\": 10000.0}}",
         "rope_scaling.rope_theta: found 10000, expected 500000 as in rope_theta"},
        {"{\"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 2},"
         " \"rope_parameters\": {\"rope_type\": \"linear\", \"factor\": 4}}",
         "rope_scaling.factor: found 2, expected 4 as in rope_parameters"},
        {"{\"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 2},"
         " \"rope_parameters\": {\"rope_type\": \"default\"}}",
         "rope_scaling.rope_type: found \"linear\", expected \"default\" as in rope_parameters"},
        {"{\"rope_theta\": 0}", "rope_theta: found 0, "},
        {"{\"rope_theta\": -10000.0}", "rope_theta: found -10000"},
        {"{\"rope_theta\": \"10000\"}", "rope_theta: found \"10000\", "},
        {"{\"partial_rotary_factor\": 0.5}", "partial_rotary_factor: found 0.5, expected 1 "},
        {"{\"rope_parameters\": {\"partial_rotary_factor\": 0.25}}",
         "rope_parameters.partial_rotary_factor: found 0.25, expected 1 "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        refuse(cases[i].patch, "", cases[i].words);
}
END_TEST

START_TEST(refusals) {
    static const struct {
        const char *patch, *without, *words;
    } cases[] = {
        {"{}", "model_type", "model_type: found nothing, expected one of llama, mistral, "},
        {"{\"model_type\": \"gemma4\"}", "",
         "model_type: found \"gemma4\", expected one of llama, "},
        {"{\"model_type\": 7}", "", "model_type: found 7, "},
        {"{\"architectures\": [\"MistralForCausalLM\"]}", "",
         "architectures: found \"MistralForCausalLM\", expected LlamaForCausalLM "},
        {"{\"model_type\": \"mistral\"}", "",
         "architectures: found \"LlamaForCausalLM\", expected MistralForCausalLM "},
        {"{\"architectures\": \"LlamaForCausalLM\"}", "", "architectures: found "},
        {"{\"architectures\": []}", "", "architectures: found a list of 0, "},
        {"{\"architectures\": [3, null]}", "", "architectures: found a list of 2, "},
        {"{}", "hidden_size", "hidden_size: found nothing, expected an integer from 1 "},
        {"{}", "num_hidden_layers", "num_hidden_layers: found nothing, "},
        {"{}", "num_attention_heads", "num_attention_heads: found nothing, "},
        {"{}", "intermediate_size", "intermediate_size: found nothing, "},
        {"{}", "vocab_size", "vocab_size: found nothing, "},
        {"{}", "max_position_embeddings", "max_position_embeddings: found nothing, "},
        {"{\"hidden_size\": 0}", "", "hidden_size: found 0, "},
        {"{\"hidden_size\": -4096}", "", "hidden_size: found -4096, "},
        {"{\"hidden_size\": 4096.0}", "", "hidden_size: found 4096.0, "},
        {"{\"hidden_size\": \"4096\"}", "", "hidden_size: found \"4096\", "},
        {"{\"hidden_size\": true}", "", "hidden_size: found true, "},
        {"{\"hidden_size\": [4096]}", "", "hidden_size: found a list of 1, "},
        {"{\"hidden_size\": 2147483648}", "", "hidden_size: found 2147483648, "},
        {"{\"hidden_size\": 9223372036854775807}", "", "hidden_size: found 9223372036854775807, "},
        {"{\"hidden_size\": 4100}", "", "hidden_size: found 4100, expected a multiple of "},
        {"{\"vocab_size\": 4294967296}", "", "vocab_size: found 4294967296, "},
        {"{\"num_hidden_layers\": 2147483647}", "", "num_hidden_layers: found 2147483647, "},
        {"{\"num_key_value_heads\": 0}", "", "num_key_value_heads: found 0, "},
        {"{\"num_key_value_heads\": 5}", "", "num_key_value_heads: found 5, expected a divisor "},
        {"{\"num_key_value_heads\": 64}", "", "num_key_value_heads: found 64, "},
        {"{\"head_dim\": 127}", "", "head_dim: found 127, expected an even number"},
        {"{\"head_dim\": 0}", "", "head_dim: found 0, "},
        {"{\"num_attention_heads\": 65536, \"num_key_value_heads\": 1, \"head_dim\": 65536}", "",
         "head_dim: found 65536, expected at most 32767 "},
        {"{\"hidden_size\": 4064}", "", "head_dim: found 127, "},
        {"{\"max_position_embeddings\": 1e4}", "", "max_position_embeddings: found 10000.0, "},
        {"{\"rms_norm_eps\": \"1e-5\"}", "", "rms_norm_eps: found \"1e-5\", "},
        {"{\"rms_norm_eps\": -1e-5}", "", "rms_norm_eps: found -1"},
        {"{\"tie_word_embeddings\": 1}", "", "tie_word_embeddings: found 1, "},
        {"{\"tie_word_embeddings\": \"true\"}", "", "tie_word_embeddings: found \"true\", "},
        {"{\"hidden_act\": \"relu2\"}", "", "hidden_act: found \"relu2\", expected silu, "},
        {"{\"model_type\": \"mistral\", \"attention_bias\": true}", "architectures",
         "attention_bias: found true, "},
        {"{\"model_type\": \"qwen3\", \"mlp_bias\": true}", "architectures",
         "mlp_bias: found true, "},
        {"{\"clip_qkv\": 8.0}", "", "clip_qkv: found 8.0, "},
        {"{\"model_type\": \"phi\", \"qk_layernorm\": true}", "architectures",
         "qk_layernorm: found true, "},
        {"{\"model_type\": \"gemma\", \"use_bidirectional_attention\": true}", "architectures",
         "use_bidirectional_attention: found true, "},
        {"{\"num_hidden_layers\": 1025}", "", "num_hidden_layers: found 1025, "},
        {"{\"attention_bias\": 0}", "", "attention_bias: found 0, "},
        {"{\"quantization_config\": {\"quant_method\": \"gptq\"}}", "",
         "quantization_config: found an object with 1 fields, "},
        {"{\"torch_dtype\": 16}", "", "torch_dtype: found 16, "},
        {"{\"dtype\": \"float32 or something much longer\"}", "", "dtype: found \"float32 or "},
        {"{\"dtype\": \"float\\u000116\"}", "", "dtype: found \"float?16\", "},
        {"{\"hidden_size\": 2147483647, \"intermediate_size\": 2147483647, \"head_dim\": 64,"
         " \"num_hidden_layers\": 1024, \"vocab_size\": 2147483647}",
         "", "hidden_size: found a model of more than "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        refuse(cases[i].patch, cases[i].without, cases[i].words);
}
END_TEST

/* Texts that are no JSON object, or not the JSON that is agreed on. */
START_TEST(malformed) {
    static const char *const texts[] = {
        "",
        " ",
        "{",
        "[]",
        "null",
        "\"config\"",
        "{} {}",
        "{\"hidden_size\": }",
        "{\"hidden_size\": 4096,}",
        "{'hidden_size': 4096}",
        "{\"hidden_size\": 04096}",
        "{\"hidden_size\": 9223372036854775808}",
        "{\"rms_norm_eps\": NaN}",
        "{\"rms_norm_eps\": Infinity}",
        "{\"rms_norm_eps\": 1e999}",
        "{\"hidden_size\": 4096, \"hidden_size\": 4096}",
        "{\"model_type\": \"llama",
        "{\"model_type\": \"\xff\xfe\"}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct shape shape;
        check_refusal(parse(texts[i], &shape), texts[i], "found ");
    }
}
END_TEST

START_TEST(deep_nesting) {
    enum { DEPTH = 1000000 };
    char *text = malloc(DEPTH + 16);
    ck_assert_ptr_nonnull(text);
    memcpy(text, "{\"a\": ", 6);
    memset(text + 6, '[', DEPTH);
    text[6 + DEPTH] = '\0';
    struct shape shape;
    check_refusal(parse(text, &shape), "deep nesting", "depth");
    free(text);
}
END_TEST

/* Any single byte changed: parsed or refused with a message, never a crash. */
START_TEST(changed_bytes) {
    uint32_t random = 1;
    for (int round = 0; round < 20000; round++) {
        char text[sizeof base];
        memcpy(text, base, sizeof base);
        random = random * 1664525 + 1013904223;
        text[(random >> 8) % (sizeof base - 1)] = (char)(random >> 3);
        struct shape shape;
        status_adopt("");
        enum status status = shape_parse("m/config.json", text, (int64_t)sizeof base - 1, &shape);
        ck_assert_msg((status == STATUS_OK) == (status_text()[0] == '\0'), "%s", text);
        if (status == STATUS_OK)
            ck_assert_int_gt(shape_parameters(&shape), 0);
    }
}
END_TEST

/* The readers of single fields, where a range holds 0 and negative numbers. */
START_TEST(fields) {
    static const char text[] =
        "{\"i\": -3, \"r\": 2.5, \"s\": \"x\", \"n\": null, \"o\": {\"i\": 4}}";
    json_t *root;
    int64_t integer = 7;
    double real = 7;
    ck_assert_int_eq(json_parse_object("config.json", text, sizeof text - 1, &root), STATUS_OK);
    ck_assert_int_eq(json_int("config.json", root, "i", true, -3, 9, &integer), STATUS_OK);
    ck_assert_int_eq(integer, -3);
    ck_assert_int_eq(json_int("config.json", root, "o.i", true, 4, 4, &integer), STATUS_OK);
    ck_assert_int_eq(integer, 4);
    ck_assert_int_eq(json_real_in("config.json", root, "i", true, -9, 9, &real), STATUS_OK);
    ck_assert_double_eq(real, -3);
    static const char *const absent[] = {"none", "n", "o.none", "none.i", "n.i"};
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(json_int("config.json", root, absent[i], false, 0, 1, &integer),
                         STATUS_OK);
        ck_assert_int_eq(integer, 4);
        check_refusal(
            json_int("config.json", root, absent[i], true, 0, 1, &integer), absent[i],
            path_of("%s: found nothing, expected an integer from 0 to 1; ", absent[i]).text);
    }
    static const char *const wrong[] = {"r", "s", "o"};
    for (int i = 0; i < 3; i++)
        check_refusal(json_int("config.json", root, wrong[i], false, -9, 9, &integer), wrong[i],
                      "expected an integer from -9 to 9; ");
    check_refusal(json_int("config.json", root, "i", false, -2, 9, &integer), "i", "found -3, ");
    check_refusal(json_real_in("config.json", root, "s", false, -9, 9, &real), "s",
                  "found \"x\", ");
    check_refusal(json_real_in("config.json", root, "r", false, 0, 2, &real), "r", "found 2.5, ");
    check_refusal(json_int("config.json", root, "s.i", false, 0, 1, &integer), "s",
                  "s: found \"x\", expected an object; ");
    json_decref(root);
}
END_TEST

static void check_equal(const struct shape *a, const struct shape *b, const char *what) {
    ck_assert_msg(memcmp(a, b, sizeof *a) == 0, "%s: the two configs differ", what);
}

/* Both forms of config.json describe the same model. */
START_TEST(golden_forms) {
    static const struct {
        const char *name;
        int64_t head_dim, window;
    } cases[] = {
        {"llama", 8, 0},     {"llama-bf16", 8, 0}, {"llama3", 8, 0},        {"mistral", 8, 24},
        {"phi", 8, 0},       {"phi3", 8, 0},       {"phi3-longrope", 8, 0}, {"qwen2", 8, 0},
        {"qwen3", 12, 0},    {"gemma", 12, 0},     {"gemma2", 12, 24},      {"gemma3", 8, 24},
        {"olmo2", 8, 0},     {"granite", 8, 0},    {"smollm3", 8, 0},       {"mixtral", 8, 0},
        {"qwen3_moe", 8, 0},
    };
    struct path dir = files_new();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct shape newer, older;
        struct path golden = fixture(path_of("golden/%s", cases[i].name).text);
        ck_assert_msg(shape_read(golden.text, &newer) == STATUS_OK, "%s", status_text());
        file_copy(path_of("%s/config_old_style.json", golden.text).text, dir.text, "config.json");
        ck_assert_msg(shape_read(dir.text, &older) == STATUS_OK, "%s", status_text());
        check_equal(&newer, &older, cases[i].name);
        ck_assert_int_eq(newer.hidden, 32);
        ck_assert_int_eq(newer.head_dim, cases[i].head_dim);
        ck_assert_int_eq(newer.context, strcmp(cases[i].name, "phi3-longrope") == 0 ? 160 : 40);
        ck_assert_int_eq(newer.sliding_window, cases[i].window);
        ck_assert_str_eq(newer.dtype,
                         strcmp(cases[i].name, "llama-bf16") == 0 ? "bfloat16" : "float32");
    }
    struct shape newer, older;
    ck_assert_int_eq(shape_read(fixture("golden/llama3").text, &newer), STATUS_OK);
    ck_assert_int_eq(shape_read(fixture("golden/llama3-oldconfig").text, &older), STATUS_OK);
    check_equal(&newer, &older, "llama3-oldconfig");
    ck_assert_int_eq(newer.rope.type, ROPE_LLAMA3);
    ck_assert_int_eq(newer.rope.original_context, 10);
    files_remove(dir);
}
END_TEST

START_TEST(shared_models) {
    struct path path;
    struct shape s;
    if (shared("models/stories260K-hf", &path)) {
        ck_assert_msg(shape_read(path.text, &s) == STATUS_OK, "%s", status_text());
        ck_assert_int_eq(shape_parameters(&s), 260032);
        ck_assert_int_eq(s.context, 512);
    }
    if (shared("models/ferrl-tiny-llama", &path)) {
        ck_assert_msg(shape_read(path.text, &s) == STATUS_OK, "%s", status_text());
        ck_assert_int_eq(s.rope.type, ROPE_LLAMA3);
        ck_assert_double_eq(s.rope.theta, 500000);
        ck_assert_int_eq(s.rope.original_context, 16);
    }
    if (shared("models/ferrl-tiny-gemma4", &path))
        check_refusal(shape_read(path.text, &s), path.text, "model_type: found \"gemma4\", ");
}
END_TEST

START_TEST(unreadable) {
    struct path dir = files_new();
    struct shape shape;
    check_refusal(shape_read(dir.text, &shape), "no file", "No such file");
    ck_assert_int_eq(mkdir(path_of("%s/config.json", dir.text).text, 0700), 0);
    check_refusal(shape_read(dir.text, &shape), "a directory", "found a directory, ");
    ck_assert_int_eq(rmdir(path_of("%s/config.json", dir.text).text), 0);
    ck_assert_int_eq(mkfifo(path_of("%s/config.json", dir.text).text, 0600), 0);
    check_refusal(shape_read(dir.text, &shape), "a pipe", "found a special file, ");
    ck_assert_int_eq(unlink(path_of("%s/config.json", dir.text).text), 0);
    file_write_text(dir.text, "config.json", "");
    check_refusal(shape_read(dir.text, &shape), "an empty file", "found ");
    ck_assert_int_eq(truncate(path_of("%s/config.json", dir.text).text, 1 << 30), 0);
    check_refusal(shape_read(dir.text, &shape), "a gigabyte", "found 1073741824 bytes, ");
    files_remove(dir);
}
END_TEST

static void write_config(const char *dir, const char *patch, const char *without) {
    char *text = patched(patch, without);
    file_write_text(dir, "config.json", text);
    free(text);
}

START_TEST(stop_ids) {
    struct path dir = files_new();
    struct shape shape = accept("{}", "");
    struct stop_ids stop;
    static const char *const generation = "generation_config.json";

    write_config(dir.text, "{}", "");
    ck_assert_int_eq(shape_read_stop_ids(dir.text, &shape, &stop), STATUS_OK);
    ck_assert_int_eq(stop.count, 1);
    ck_assert_int_eq(stop.ids[0], 2);

    file_write_text(dir.text, generation, "{\"eos_token_id\": [31999, 7, 0]}");
    ck_assert_int_eq(shape_read_stop_ids(dir.text, &shape, &stop), STATUS_OK);
    ck_assert_int_eq(stop.count, 3);
    ck_assert_int_eq(stop.ids[0], 31999);
    ck_assert_int_eq(stop.ids[2], 0);

    static const char *const silent[] = {"{}", "{\"eos_token_id\": null}",
                                         "{\"eos_token_id\": []}"};
    for (int i = 0; i < 3; i++) {
        file_write_text(dir.text, generation, silent[i]);
        ck_assert_int_eq(shape_read_stop_ids(dir.text, &shape, &stop), STATUS_OK);
        ck_assert_int_eq(stop.count, 1);
        ck_assert_int_eq(stop.ids[0], 2);
    }

    write_config(dir.text, "{\"eos_token_id\": null}", "");
    ck_assert_int_eq(shape_read_stop_ids(dir.text, &shape, &stop), STATUS_OK);
    ck_assert_int_eq(stop.count, 0);

    static const char *const wrong[] = {"32000", "-1", "2.0",  "\"2\"",    "[2, 32000]",
                                        "[[2]]", "{}", "true", "[2, null]"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        file_write_text(dir.text, generation, path_of("{\"eos_token_id\": %s}", wrong[i]).text);
        check_refusal(shape_read_stop_ids(dir.text, &shape, &stop), wrong[i],
                      "generation_config.json: eos_token_id: found ");
    }

    char many[1024] = "{\"eos_token_id\": [1";
    for (int i = 0; i < STOP_IDS_MAX; i++)
        strcat(many, ", 1");
    strcat(many, "]}");
    file_write_text(dir.text, generation, many);
    check_refusal(shape_read_stop_ids(dir.text, &shape, &stop), "65 ids",
                  "eos_token_id: found more than 64 ids, ");
    file_write_text(dir.text, generation, "{\"eos_token_id\": 2");
    check_refusal(shape_read_stop_ids(dir.text, &shape, &stop), "cut",
                  "generation_config.json: found ");
    files_remove(dir);
}
END_TEST

/* A long string is shortened at a whole character, and the message stays one line. */
START_TEST(long_values) {
    char patch[4096] = "{\"hidden_act\": \"\\n";
    for (int i = 0; i < 1000; i++)
        strcat(patch, "\xc3\xa4");
    strcat(patch, "\", \"model_type\": \"");
    for (int i = 0; i < 500; i++)
        strcat(patch, "\xe2\x82\xac");
    strcat(patch, "\"}");
    refuse(patch, "", "model_type: found \"\xe2\x82\xac");
    ck_assert_ptr_nonnull(strstr(status_text(), "\xe2\x82\xac...\", expected"));
    ck_assert_ptr_null(strchr(status_text(), '\n'));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("shape");
    suite_add(suite, "shape",
              (const TTest *const[]){published_llama2,
                                     published_parameters,
                                     published_phi2,
                                     published_phi3,
                                     published_qwen,
                                     published_mixtral,
                                     published_gemma,
                                     published_others,
                                     family_refusals,
                                     windows_by_layer,
                                     defaults_of_absent_fields,
                                     sliding_windows,
                                     rope_forms,
                                     rope_refusals,
                                     refusals,
                                     malformed,
                                     deep_nesting,
                                     changed_bytes,
                                     fields,
                                     golden_forms,
                                     shared_models,
                                     unreadable,
                                     stop_ids,
                                     long_values,
                                     NULL});
    return suite_run(suite);
}
