/* What is asked of the last stage: logits, the loss of a known next token, the choice of the next
 * one. Every rank of the stage holds some rows of the vocabulary; only sums and the best candidates
 * travel, never whole rows. */
#ifndef QUIRE_DIST_HEAD_H
#define QUIRE_DIST_HEAD_H

#include "dist/sequence.h"
#include "kernels/sample.h"

/* Cross-entropy in nats of the last chunk's rows: losses[t] = -ln softmax(logits of row t)
 * [targets[t]], for t < rows. Valid on the decider (dist_decider); other ranks of the last stage
 * take part, other stages return at once. Collective(stage). */
void head_losses(struct sequence *s, const int32_t *targets, int64_t rows, float *losses);

/* Hands the last chunk's logits to the probe (SITE_LOGITS). Local. */
void head_probe(struct sequence *s);

/* Most alternatives that can be asked for. */
#define LOGPROBS_MAX 100

struct choice {
    int32_t token;
    float logprob; /* ln of its probability under the model, temperature 1 */
    int32_t top_count;
    struct {
        int32_t id;
        float logprob;
    } top[LOGPROBS_MAX]; /* the most likely tokens, best first */
};

/* Chooses the token that follows the last chunk's last row, the same on every mesh and known to
 * every rank afterwards. logprobs: alternatives wanted, 0 .. LOGPROBS_MAX. Fails where a value is
 * not finite (sequence_check). Collective(world). */
enum status head_choose(struct sequence *s, const struct sample_options *options, int64_t logprobs,
                        struct choice *choice);

/* The same for several rows of the last pass, ascending; positions[i] is that of the token to
 * choose behind rows[i]. Collective(world). */
enum status head_choose_rows(struct sequence *s, const int64_t *rows, const int64_t *positions,
                             int64_t count, const struct sample_options *options, int64_t logprobs,
                             struct choice *choices);

#endif
