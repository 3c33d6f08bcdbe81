#include "dist/tails.h"

#include "dist/attend.h"
#include "dist/forward.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

int64_t tails_owned_rows(const struct batch *batch, int64_t part, int64_t parts) {
    int64_t count = 0;
    for (int64_t row = 0; row < batch->rows; row++)
        count += batch->tails->of_rows[row] % parts == part;
    return count;
}

int64_t tails_owned_row(const struct batch *batch, int64_t part, int64_t parts, int64_t n) {
    int64_t row = 0;
    while (row < batch->rows && (batch->tails->of_rows[row] % parts != part || n-- > 0))
        row++;
    return row;
}

static bool lies_here(const struct tails *t, int64_t tail) {
    const struct dist *dist = t->sequence->model->dist;
    return tail % dist->mesh.sp == dist->place.sp;
}

/* A tail is a cache of one part, whatever the mesh. */
static enum status open_tail(struct tails *t, int64_t i) {
    const struct sequence *s = t->sequence;
    struct sequence_options options = s->options;
    struct mesh mesh = s->model->dist->mesh;
    if (!lies_here(t, i))
        return STATUS_OK;
    mesh.sp = 1;
    options.capacity = t->tails[i].capacity;
    struct plan_request plan = sequence_plan(&options, 1);
    plan.chunk = s->options.chunk;
    return cache_open(&s->model->shape, &s->model->share, mesh, 0, &plan, s->options.kv,
                      &t->tails[i].cache);
}

static enum status open_local(struct tails *t, const int64_t *capacities) {
    const struct model *m = t->sequence->model;
    int64_t chunk = t->sequence->options.chunk, heads = m->share.kv_heads.count;
    int64_t rows = chunk * shape_group(&m->shape), count = t->count, d = m->shape.head_dim;
    size_t floats = (size_t)(heads * rows * d) + 1;
    t->tails = calloc((size_t)count + 1, sizeof *t->tails);
    t->ids = calloc((size_t)chunk, sizeof *t->ids);
    t->positions = calloc((size_t)(3 * chunk + count + 1), sizeof *t->positions);
    t->tasks = calloc((size_t)(heads * count) + 1, sizeof *t->tasks);
    t->task_positions = calloc((size_t)rows, sizeof *t->task_positions);
    t->near = malloc(3 * floats * sizeof *t->near);
    t->max = malloc(2 * (size_t)(heads * rows + 1) * sizeof *t->max);
    if (!t->tails || !t->ids || !t->positions || !t->tasks || !t->task_positions || !t->near ||
        !t->max)
        return status_no_memory("tails", (long long)(3 * floats * sizeof *t->near));
    t->of_rows = t->positions + chunk;
    t->order = t->of_rows + chunk;
    t->rows_of_tail = t->order + chunk;
    t->far = t->near + floats;
    t->out = t->far + floats;
    t->sum = t->max + heads * rows + 1;
    for (int64_t i = 0; i < count; i++) {
        t->tails[i].capacity = capacities[i];
        TRY(open_tail(t, i));
    }
    return STATUS_OK;
}

enum status tails_open(struct sequence *sequence, const int64_t *capacities, int64_t count,
                       struct tails *tails) {
    *tails = (struct tails){.sequence = sequence, .count = count};
    return status_agree(sequence->model->dist->world.comm, open_local(tails, capacities));
}

void tails_close(struct tails *t) {
    for (int64_t i = 0; t->tails && i < t->count; i++)
        cache_close(&t->tails[i].cache);
    free(t->tails);
    free(t->ids);
    free(t->positions);
    free(t->tasks);
    free(t->task_positions);
    free(t->near);
    free(t->max);
    memset(t, 0, sizeof *t);
}

/* -- a pass ------------------------------------------------------------------------------------ */

/* Token `at` of `tokens`, and where it will stand. */
struct place {
    int64_t position, at;
};

static int place_order(const void *a, const void *b) {
    const struct place *x = a, *y = b;
    if (x->position != y->position)
        return x->position < y->position ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

/* Lays the rows by rising position, as the attention kernels want them. */
static void lay_rows(struct tails *t, const struct tail_token *tokens, int64_t count,
                     int64_t *rows_out) {
    struct place *places = malloc((size_t)count * sizeof *places);
    int64_t *seen = t->rows_of_tail;
    if (!places)
        MPI_Abort(MPI_COMM_WORLD, STATUS_FAILED);
    memset(seen, 0, (size_t)(t->count + 1) * sizeof *seen);
    for (int64_t i = 0; i < count; i++) {
        int64_t tail = tokens[i].tail;
        int64_t position = t->sequence->tokens + t->tails[tail].tokens + seen[tail]++;
        places[i] = (struct place){position, i};
    }
    qsort(places, (size_t)count, sizeof *places, place_order);
    for (int64_t row = 0; row < count; row++) {
        const struct tail_token *token = &tokens[places[row].at];
        t->ids[row] = token->id;
        t->positions[row] = places[row].position;
        t->of_rows[row] = token->tail;
        rows_out[places[row].at] = row;
    }
    free(places);
}

/* rows_of_tail becomes where each tail's rows begin in `order`, which lists the rows tail by tail.
 */
static void order_rows(struct tails *t, int64_t count) {
    int64_t *begin = t->rows_of_tail, at = 0;
    for (int64_t tail = 0; tail < t->count; tail++) {
        begin[tail] = at;
        for (int64_t row = 0; row < count; row++)
            if (t->of_rows[row] == tail)
                t->order[at++] = row;
    }
    begin[t->count] = at;
}

void tails_forward(struct tails *t, const struct tail_token *tokens, int64_t count,
                   int64_t *rows_out) {
    struct sequence *s = t->sequence;
    lay_rows(t, tokens, count, rows_out);
    order_rows(t, count);
    struct batch batch = {.rows = count, .positions = t->positions, .tails = t};
    s->batch = &batch;
    forward_chunk(s, t->ids, count);
    s->batch = NULL;
    for (int64_t i = 0; i < t->count; i++)
        t->tails[i].tokens += t->rows_of_tail[i + 1] - t->rows_of_tail[i];
}

enum status tails_choose(struct tails *t, const int64_t *rows, const int64_t *tails_of,
                         int64_t count, const struct sample_options *options, int64_t logprobs,
                         struct choice *choices) {
    int64_t *positions = malloc((size_t)count * sizeof *positions + 1);
    if (!positions)
        MPI_Abort(MPI_COMM_WORLD, STATUS_FAILED);
    for (int64_t i = 0; i < count; i++)
        positions[i] = t->sequence->tokens + t->tails[tails_of[i]].tokens;
    enum status status =
        head_choose_rows(t->sequence, rows, positions, count, options, logprobs, choices);
    free(positions);
    return status;
}

/* -- within a layer ---------------------------------------------------------------------------- */

void tails_put_keys(struct sequence *s, int64_t layer, const float *keys, const float *values,
                    const struct rotary *tables) {
    struct tails *t = s->batch->tails;
    int64_t d = s->model->shape.head_dim, width = s->model->share.kv_heads.count * d;
    float scratch[2 * d];
    for (int64_t row = 0, n = 0; row < s->batch->rows; row++) {
        int64_t tail = t->of_rows[row];
        if (!lies_here(t, tail))
            continue;
        struct cache *cache = &t->tails[tail].cache;
        for (int64_t head = 0; head < cache->heads; head++)
            cache_put(cache, layer, t->positions[row] - s->tokens, 1, head, keys + n * width,
                      values + n * width, tables, row, scratch);
        n++;
    }
}

/* One KV head's task of a tail: its rows, which stand from `first` on among those in tail order. */
static struct attention_task tail_task(const struct sequence *s, int64_t layer, int64_t head,
                                       int64_t tail, int64_t T) {
    const struct tails *t = s->batch->tails;
    int64_t group = shape_group(&s->model->shape), d = s->model->shape.head_dim;
    int64_t first = t->rows_of_tail[tail], rows = t->rows_of_tail[tail + 1] - first;
    int64_t at = (head * T + first) * group;
    struct attention_task task = {
        .keys = cache_view(&t->tails[tail].cache, layer, head, t->tails[tail].tokens + rows),
        .queries = {.rows = rows * group,
                    .positions = t->task_positions + first * group,
                    .near = t->near + at * d,
                    .far = s->work.q_far ? t->far + at * d : NULL,
                    .out = t->out + at * d,
                    .max = t->max + at,
                    .sum = t->sum + at,
                    .score_cap = (float)s->model->shape.score_cap}};
    task.keys.first = s->tokens;
    task.keys.tokens += s->tokens;
    return task;
}

/* The queries of a head, tail by tail. */
static void gather_queries(const struct sequence *s, int64_t head, int64_t T) {
    const struct tails *t = s->batch->tails;
    int64_t group = shape_group(&s->model->shape), d = s->model->shape.head_dim;
    size_t bytes = (size_t)(group * d) * sizeof(float);
    for (int64_t n = 0; n < T; n++) {
        int64_t to = (head * T + n) * group, from = (head * T + t->order[n]) * group;
        memcpy(t->near + to * d, s->work.q_near + from * d, bytes);
        if (s->work.q_far)
            memcpy(t->far + to * d, s->work.q_far + from * d, bytes);
        for (int64_t g = 0; g < group; g++)
            t->task_positions[n * group + g] = t->positions[t->order[n]];
    }
}

/* Adds one partial result to another: out = e^(max - m) out + e^(max' - m) out', m the larger. */
static void add_partial(int64_t d, float *out, float *max, float *sum, const float *more,
                        float more_max, float more_sum) {
    if (more_sum == 0)
        return;
    float largest = *sum == 0 || more_max > *max ? more_max : *max;
    float a = *sum == 0 ? 0 : expf(*max - largest), b = expf(more_max - largest);
    for (int64_t i = 0; i < d; i++)
        out[i] = a * out[i] + b * more[i];
    *sum = a * *sum + b * more_sum;
    *max = largest;
}

static void merge_head(struct sequence *s, int64_t head, int64_t T) {
    const struct tails *t = s->batch->tails;
    int64_t group = shape_group(&s->model->shape), d = s->model->shape.head_dim;
    for (int64_t n = 0; n < T; n++) {
        if (!lies_here(t, t->of_rows[t->order[n]]))
            continue;
        for (int64_t g = 0; g < group; g++) {
            int64_t from = (head * T + n) * group + g, to = (head * T + t->order[n]) * group + g;
            add_partial(d, s->work.attended + to * d, s->work.row_max + to, s->work.row_sum + to,
                        t->out + from * d, t->max[from], t->sum[from]);
        }
    }
}

void tails_attend(struct sequence *s, int64_t layer) {
    struct tails *t = s->batch->tails;
    int64_t heads = s->model->share.kv_heads.count, T = s->batch->rows, count = 0;
    for (int64_t head = 0; head < heads; head++) {
        gather_queries(s, head, T);
        for (int64_t tail = 0; tail < t->count; tail++)
            if (lies_here(t, tail) && t->rows_of_tail[tail + 1] > t->rows_of_tail[tail])
                t->tasks[count++] = tail_task(s, layer, head, tail, T);
    }
    attend_tasks(s, layer, t->tasks, count);
    for (int64_t head = 0; head < heads; head++)
        merge_head(s, head, T);
}
