/* The prompts of the pass key test, in the form of the SelfExtend paper (arXiv 2401.01325, section
 * 4; first in Landmark Attention, arXiv 2305.16300): an introduction, filler, the sentence with the
 * key, filler, the question, each on a line of its own. Prompt and answer together are exactly as
 * many tokens as asked for. Not collective: one rank builds for all. */
#ifndef QUIRE_LAUNCH_PASSKEY_PROMPT_H
#define QUIRE_LAUNCH_PASSKEY_PROMPT_H

#include "launch/tokenizer.h"
#include "partition/status.h"
#include <stdint.h>

/* Which prompt: the same four numbers make the same one everywhere. */
struct passkey_trial {
    uint64_t seed;
    int64_t length; /* tokens of prompt and answer, BOS included */
    int64_t depth;  /* filler sentences in front of the key, per cent of all */
    int64_t number;
};

#define PASSKEY_DIGITS 5

struct passkey_prompt {
    char key[PASSKEY_DIGITS + 1];
    int32_t *ids;   /* owned, [count]: the prompt, then the answer */
    int64_t count;  /* the length asked for */
    int64_t answer; /* ids at the end that are the answer */
};

/* Refuses a length that does not hold introduction, key, question and answer; the message names the
 * least that does. Quick, whatever the length. */
enum status passkey_prompt_check(const struct tokenizer *tokenizer,
                                 const struct passkey_trial *trial);

/* Builds a prompt. Its ids are those of the whole text, of which the excess over the length, less
 * than a filler sentence, is cut out of the longer stretch of filler. The answer is what the text
 * gains by " KEY" at its end; where that changes the tokens before it, " KEY" encoded alone.
 * Errors: those of passkey_prompt_check, memory. passkey_prompt_free frees a half-built one too. */
enum status passkey_prompt_build(const struct tokenizer *tokenizer,
                                 const struct passkey_trial *trial, struct passkey_prompt *prompt);
void passkey_prompt_free(struct passkey_prompt *prompt);

#endif
