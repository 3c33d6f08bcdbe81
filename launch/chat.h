/* Chat templates: what stands around a user's text, so that an instructed model takes it for a
 * question to answer. The families' published templates are rows of a table, found by name or
 * recognised in the model's own template by what it writes; one that is not known is refused. */
#ifndef QUIRE_LAUNCH_CHAT_H
#define QUIRE_LAUNCH_CHAT_H

#include "launch/tokenizer.h"
#include "partition/status.h"

struct chat_template; /* a row, static */

/* The template of a name; NULL for none. */
const struct chat_template *chat_find(const char *name);

/* The template that a model's own text (Jinja) is; NULL when it is none of those known. */
const struct chat_template *chat_recognise(const char *text);

/* The names, with commas between; static. */
const char *chat_names(void);
const char *chat_name(const struct chat_template *chat);

/* The template to use: that of `name`, or, when it is NULL, the tokenizer's own. Errors: a name or
 * a template that is not known, with the list of those that are; no template at all. */
enum status chat_choose(const struct tokenizer *tokenizer, const char *model, const char *name,
                        const struct chat_template **chat);

/* Which part of a conversation with one question: all of it, what stands up to the end of the
 * user's text, or from its beginning on. A text that is read in two parts is the opening with the
 * first and the closing with the second. */
enum chat_part { CHAT_WHOLE, CHAT_OPENING, CHAT_CLOSING };

/* A conversation as text. */
struct chat_text {
    char *text; /* owned [len] */
    int64_t len, capacity;
    struct text_range users[2]; /* [count] where special tokens are ordinary text: the system's and
                                 * the user's words, in their order */
    int64_t count;
};
void chat_text_close(struct chat_text *text);

/* Renders a system text (NULL: none) and a user's text [len] up to where the answer begins. With
 * CHAT_CLOSING no system text may be given. Errors: a template without a place for a system text, a
 * tokenizer without the BOS or EOS token that the template writes. */
enum status chat_render(const struct chat_template *chat, const struct tokenizer *tokenizer,
                        enum chat_part part, const char *system, const char *user, int64_t len,
                        struct chat_text *text);

/* Renders and encodes: special tokens of the template are such tokens, those that the system's or
 * the user's text spells are ordinary text. Nothing else is added around. */
enum status chat_encode(const struct chat_template *chat, const struct tokenizer *tokenizer,
                        enum chat_part part, const char *system, const char *user, int64_t len,
                        struct chat_text *text, struct tokens *tokens);

#endif
