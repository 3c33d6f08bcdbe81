/* Translates the regular expressions of tokenizer.json, which are Oniguruma's (Ruby syntax), into
 * PCRE2's. The two write most things alike; what differs in meaning is spelt out here: \s \w \d \b,
 * properties (PCRE2 10.42 has Unicode 14, the reference 16), \h, (?m), intervals followed by +,
 * classes within classes and their intersections. */
#ifndef QUIRE_LAUNCH_PRETOKENIZE_SYNTAX_H
#define QUIRE_LAUNCH_PRETOKENIZE_SYNTAX_H

#include "partition/status.h"
#include <stdint.h>

/* The translation is owned by the caller (free), one NUL byte stands behind its bytes. To be
 * compiled with PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE. Errors name file and field: a construct
 * that is not known. */
enum status pattern_translate(const char *file, const char *field, const char *source, int64_t len,
                              char **translation, int64_t *translation_len);

#endif
