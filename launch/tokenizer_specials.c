#include "launch/tokenizer_specials.h"

#include "partition/json.h"
#include <stdlib.h>
#include <string.h>

/* One side of a text. */
struct side {
    const char *flag, *token_key, *content_key; /* in tokenizer_config.json */
    const char *token;                          /* BOS or EOS; NULL: none */
    bool is_named;      /* tokenizer_config.json speaks of the token, though perhaps as null */
    bool is_told, told; /* what the flag says, if it is there */
    bool by_default;    /* added when nothing says anything */
    int32_t own_id;     /* the model's own for this side, -1 for none */
    bool has_template;
    struct token_ids template;
};

/* The token is a string, or an object with the string as its content. */
static enum status side_read(const char *path, const json_t *config, struct side *side) {
    const json_t *token = json_object_get(config, side->token_key);
    side->is_named = token != NULL;
    side->is_told = json_is_boolean(json_object_get(config, side->flag));
    TRY(json_bool(path, config, side->flag, false, &side->told));
    if (json_is_object(token))
        return json_text(path, config, side->content_key, true, &side->token);
    return json_text(path, config, side->token_key, false, &side->token);
}

static int32_t find(const struct tokenizer_json *json, const struct sentencepiece *sentencepiece,
                    const char *token) {
    if (!token)
        return -1;
    int64_t len = (int64_t)strlen(token);
    return json ? tokenizer_json_find(json, token, len)
                : sentencepiece_find(sentencepiece, token, len);
}

/* flag_rules: the flag counts more than the template. */
static enum status side_settle(const char *path, const struct side *side, int32_t id,
                               bool flag_rules, struct specials *specials) {
    specials->count = 0;
    if (side->has_template && !(flag_rules && side->is_told)) {
        specials->count = side->template.count;
        for (int64_t i = 0; i < specials->count; i++)
            specials->ids[i] = side->template.ids[i];
        return STATUS_OK;
    }
    if (!(side->is_told ? side->told : side->by_default))
        return STATUS_OK;
    if (id < 0 && !side->is_named)
        id = side->own_id;
    if (id < 0 && side->is_told && side->token)
        return status_fail(path, side->token_key,
                           "found \"%s\", expected a token that the tokenizer has; "
                           "correct it, or set %s to false",
                           side->token, side->flag);
    if (id >= 0)
        specials->ids[specials->count++] = id;
    return STATUS_OK;
}

/* Classes of transformers that put their own template in the place of the file's. */
static enum status read_class(const char *path, const json_t *config, bool *is_llama) {
    static const char *const names[] = {"LlamaTokenizer", "LlamaTokenizerFast",
                                        "CodeLlamaTokenizer", "CodeLlamaTokenizerFast"};
    const char *name = "";
    TRY(json_text(path, config, "tokenizer_class", false, &name));
    *is_llama = false;
    for (int i = 0; i < (int)(sizeof names / sizeof *names); i++)
        if (!strcmp(name, names[i]))
            *is_llama = true;
    return STATUS_OK;
}

enum status specials_settle(const char *path, const json_t *config,
                            const struct tokenizer_json *json,
                            const struct sentencepiece *sentencepiece, struct specials *front,
                            struct specials *back) {
    struct side bos = {.flag = "add_bos_token",
                       .token_key = "bos_token",
                       .content_key = "bos_token.content",
                       .own_id = -1};
    struct side eos = {.flag = "add_eos_token",
                       .token_key = "eos_token",
                       .content_key = "eos_token.content",
                       .own_id = -1};
    bool is_llama = false;
    if (config) {
        TRY(read_class(path, config, &is_llama));
        TRY(side_read(path, config, &bos));
        TRY(side_read(path, config, &eos));
    }
    bos.by_default = is_llama || sentencepiece;
    if (json) {
        bos.has_template = eos.has_template =
            tokenizer_json_template(json, &bos.template, &eos.template);
        bos.own_id = find(json, NULL, is_llama ? "<s>" : NULL);
        eos.own_id = find(json, NULL, is_llama ? "</s>" : NULL);
    } else {
        bos.own_id = sentencepiece_bos(sentencepiece);
        eos.own_id = sentencepiece_eos(sentencepiece);
    }
    TRY(side_settle(path, &bos, find(json, sentencepiece, bos.token), is_llama, front));
    return side_settle(path, &eos, find(json, sentencepiece, eos.token), is_llama, back);
}
