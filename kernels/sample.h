/* Choosing a token from logits: the arithmetic on one vector, without MPI. */
#ifndef QUIRE_KERNELS_SAMPLE_H
#define QUIRE_KERNELS_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>

/* A token and its logit. Order: higher logit first, ties to the lower id. */
struct candidate {
    float logit;
    int32_t id;
};

bool candidate_before(struct candidate a, struct candidate b);
void candidates_sort(struct candidate *c, int64_t n);

/* The `want` best of logits [n], ids counted from id_first, sorted; returns how many, which is
 * min(want, n). */
int64_t candidates_top(const float *logits, int64_t n, int32_t id_first, int64_t want,
                       struct candidate *out);

/* log(sum exp) over logits [n] as a maximum and sum exp(scale * (x - max)), in f64: partial results
 * of several shards merge. max = -infinity and sum = 0 for n = 0. */
struct log_sum {
    double max; /* of the unscaled logits */
    double sum;
};
struct log_sum log_sum_of(const float *logits, int64_t n, double scale);
struct log_sum log_sum_merge(struct log_sum a, struct log_sum b, double scale);
/* log sum exp(scale * x) */
double log_sum_value(struct log_sum s, double scale);

/* One block of the counter-based generator Philox4x32-10, Salmon et al., SC 2011: the counter
 * becomes the random words. */
void philox_block(uint32_t counter[4], uint32_t key_low, uint32_t key_high);

/* Gumbel noise -log(-log(u)) from the generator keyed by (seed, position, id): the same on every
 * mesh. (Gumbel-max: argmax of logit/temperature + noise is a sample of the softmax.) */
double gumbel_noise(uint64_t seed, int64_t position, int32_t id);

struct sample_options {
    double temperature; /* 0: greedy */
    int64_t top_k;      /* 0: all */
    double top_p;       /* 1: all */
    uint64_t seed;
};

/* Greedy or Gumbel-max over sorted candidates [n] after temperature, top-k and top-p in this order
 * (top-p: the smallest leading set whose share of the kept mass reaches p). `total` is the log-sum
 * of the logits scaled by 1/temperature that the candidates' shares are taken of when top_k is 0.
 * Sets *need_more when the candidates given (of `vocab`) are too few to know; the result is then
 * undefined. Index into candidates. */
int64_t sample_choose(const struct candidate *candidates, int64_t n, int64_t vocab,
                      struct log_sum total, const struct sample_options *options, int64_t position,
                      bool *need_more);

/* argmax of logits[i]/temperature + noise over a shard: the shard's candidate for an unrestricted
 * sample, its perturbed value in *perturbed. n >= 1. */
int32_t sample_perturbed(const float *logits, int64_t n, int32_t id_first,
                         const struct sample_options *options, int64_t position, double *perturbed);

#endif
