#include "kernels/sample.h"

#include <math.h>
#include <stdlib.h>

bool candidate_before(struct candidate a, struct candidate b) {
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

static int candidate_order(const void *a, const void *b) {
    const struct candidate *x = a, *y = b;
    return candidate_before(*x, *y) ? -1 : candidate_before(*y, *x) ? 1 : 0;
}

void candidates_sort(struct candidate *c, int64_t n) {
    qsort(c, (size_t)n, sizeof *c, candidate_order);
}

/* Lets the entry at the root of the heap [n], whose worst candidate is to be on top, sink. */
static void heap_sink(struct candidate *heap, int64_t n) {
    int64_t at = 0;
    struct candidate moving = heap[0];
    for (int64_t child = 1; child < n; child = 2 * at + 1) {
        if (child + 1 < n && candidate_before(heap[child], heap[child + 1]))
            child++;
        if (!candidate_before(moving, heap[child]))
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moving;
}

int64_t candidates_top(const float *logits, int64_t n, int32_t id_first, int64_t want,
                       struct candidate *out) {
    int64_t kept = want < n ? want : n;
    if (kept <= 0)
        return 0;
    for (int64_t i = 0; i < kept; i++)
        out[i] = (struct candidate){logits[i], id_first + (int32_t)i};
    /* Sorted worst first, the array is a heap. */
    candidates_sort(out, kept);
    for (int64_t i = 0, j = kept - 1; i < j; i++, j--) {
        struct candidate c = out[i];
        out[i] = out[j];
        out[j] = c;
    }
    for (int64_t i = kept; i < n; i++) {
        struct candidate c = {logits[i], id_first + (int32_t)i};
        if (candidate_before(c, out[0])) {
            out[0] = c;
            heap_sink(out, kept);
        }
    }
    candidates_sort(out, kept);
    return kept;
}

/* exp(scale * (x - max)), where x = -infinity has no weight, even below a maximum of -infinity. */
static double weight_of(double x, double max, double scale) {
    return x == -INFINITY ? 0 : exp(scale * (x - max));
}

/* Logits that a thread takes at a time; their sums are added in order, whoever made them. */
#define PIECE 2048

struct log_sum log_sum_of(const float *logits, int64_t n, double scale) {
    int64_t pieces = (n + PIECE - 1) / PIECE;
    double sums[pieces + 1], sum = 0;
    float max = -INFINITY;
#pragma omp simd reduction(max : max)
    for (int64_t i = 0; i < n; i++)
        max = logits[i] > max ? logits[i] : max;
#pragma omp parallel for schedule(static) if (pieces > 1)
    for (int64_t p = 0; p < pieces; p++) {
        int64_t end = p + 1 < pieces ? (p + 1) * PIECE : n;
        sums[p] = 0;
        for (int64_t i = p * PIECE; i < end; i++)
            sums[p] += weight_of(logits[i], max, scale);
    }
    for (int64_t p = 0; p < pieces; p++)
        sum += sums[p];
    return (struct log_sum){max, sum};
}

struct log_sum log_sum_merge(struct log_sum a, struct log_sum b, double scale) {
    double max = a.max > b.max ? a.max : b.max;
    return (struct log_sum){max, a.sum * weight_of(a.max, max, scale) +
                                     b.sum * weight_of(b.max, max, scale)};
}

double log_sum_value(struct log_sum s, double scale) {
    return s.max == -INFINITY ? -INFINITY : scale * s.max + log(s.sum);
}

/* One block of Philox4x32-10; the counter becomes the random words. */
void philox_block(uint32_t counter[4], uint32_t key_low, uint32_t key_high) {
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xd2511f53u * counter[0], b = (uint64_t)0xcd9e8d57u * counter[2];
        counter[0] = (uint32_t)(b >> 32) ^ counter[1] ^ key_low;
        counter[1] = (uint32_t)b;
        counter[2] = (uint32_t)(a >> 32) ^ counter[3] ^ key_high;
        counter[3] = (uint32_t)a;
        key_low += 0x9e3779b9u;
        key_high += 0xbb67ae85u;
    }
}

double gumbel_noise(uint64_t seed, int64_t position, int32_t id) {
    uint32_t words[4] = {(uint32_t)id, 0, (uint32_t)position, (uint32_t)((uint64_t)position >> 32)};
    philox_block(words, (uint32_t)seed, (uint32_t)(seed >> 32));
    /* The middle of one of 2^52 intervals of (0, 1): exact in a double, and never 0 or 1. */
    uint64_t interval = ((uint64_t)words[0] << 32 | words[1]) >> 12;
    return -log(-log(((double)interval + 0.5) * 0x1p-52));
}

/* What Gumbel-max takes the maximum of; one function, so that every way to the same token gives the
 * same bits. */
static double perturbed_of(float logit, int32_t id, const struct sample_options *options,
                           int64_t position) {
    return logit / options->temperature + gumbel_noise(options->seed, position, id);
}

/* How many of the leading candidates [n] have at least top_p of the mass `total`; `n` + 1 when all
 * of them have not. Weights are relative to the logit `max`. */
static int64_t leading_count(const struct candidate *c, int64_t n, double total, double max,
                             const struct sample_options *options) {
    double mass = 0;
    for (int64_t i = 0; i < n; i++) {
        mass += weight_of(c[i].logit, max, 1 / options->temperature);
        if (mass >= options->top_p * total)
            return i + 1;
    }
    return n + 1;
}

int64_t sample_choose(const struct candidate *candidates, int64_t n, int64_t vocab,
                      struct log_sum total, const struct sample_options *options, int64_t position,
                      bool *need_more) {
    *need_more = false;
    if (options->temperature == 0)
        return 0;
    int64_t kept = n;
    if (options->top_k > 0) {
        kept = options->top_k < vocab ? options->top_k : vocab;
        if (kept > n) {
            *need_more = true;
            return 0;
        }
        total = (struct log_sum){candidates[0].logit, 0};
        for (int64_t i = 0; i < kept; i++)
            total.sum += weight_of(candidates[i].logit, total.max, 1 / options->temperature);
    }
    bool cut = false;
    if (options->top_p < 1) {
        int64_t leading = leading_count(candidates, kept, total.sum, total.max, options);
        cut = leading <= kept;
        kept = cut ? leading : kept;
    }
    if (options->top_k <= 0 && !cut && n < vocab) {
        *need_more = true;
        return 0;
    }
    int64_t best = 0;
    double best_value = -INFINITY;
    for (int64_t i = 0; i < kept; i++) {
        double value = perturbed_of(candidates[i].logit, candidates[i].id, options, position);
        if (value > best_value || (value == best_value && candidates[i].id < candidates[best].id)) {
            best = i;
            best_value = value;
        }
    }
    return best;
}

int32_t sample_perturbed(const float *logits, int64_t n, int32_t id_first,
                         const struct sample_options *options, int64_t position,
                         double *perturbed) {
    int64_t best = 0;
    *perturbed = -INFINITY;
    for (int64_t i = 0; i < n; i++) {
        double value = perturbed_of(logits[i], id_first + (int32_t)i, options, position);
        if (value > *perturbed) {
            best = i;
            *perturbed = value;
        }
    }
    return id_first + (int32_t)best;
}
