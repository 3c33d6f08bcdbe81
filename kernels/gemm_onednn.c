/* bf16 products of many tokens by oneDNN. It reads the weights where they lie and rearranges a
 * block of them at a time, which many tokens repay. */
#include "kernels/gemm_bf16.h"

#include "kernels/gemm.h"
#include <omp.h>
#include <oneapi/dnnl/dnnl.h>
#include <stdio.h>
#include <string.h>

/* A product made ready for its sizes, which takes oneDNN longer than a small product itself. */
struct product {
    int64_t T, N, K, stride;
    int threads;
    dnnl_primitive_t run; /* NULL: the place is free */
    dnnl_memory_t x, w, y;
};

/* A model has about five pairs of N and K, a run a few T: the chunk, its last part, the rows of the
 * head. Where there are more, the oldest is made anew. */
#define PRODUCTS 64

static struct {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    struct product products[PRODUCTS];
    int next; /* place to fill */
} state;

void gemm_many_init(enum isa isa) {
    dnnl_set_max_cpu_isa(isa >= ISA_AMX           ? dnnl_cpu_isa_avx512_core_amx
                         : isa >= ISA_AVX512_BF16 ? dnnl_cpu_isa_avx512_core_bf16
                         : isa >= ISA_AVX512      ? dnnl_cpu_isa_avx512_core
                         : isa >= ISA_AVX2        ? dnnl_cpu_isa_avx2
                                                  : dnnl_cpu_isa_sse41);
}

static void product_free(struct product *p) {
    if (p->run)
        dnnl_primitive_destroy(p->run);
    if (p->x)
        dnnl_memory_destroy(p->x);
    if (p->w)
        dnnl_memory_destroy(p->w);
    if (p->y)
        dnnl_memory_destroy(p->y);
    memset(p, 0, sizeof *p);
}

void gemm_many_close(void) {
    for (int i = 0; i < PRODUCTS; i++)
        product_free(&state.products[i]);
    if (state.stream)
        dnnl_stream_destroy(state.stream);
    if (state.engine)
        dnnl_engine_destroy(state.engine);
    memset(&state, 0, sizeof state);
}

static bool engine_open(void) {
    if (state.stream)
        return true;
    return (state.engine || dnnl_engine_create(&state.engine, dnnl_cpu, 0) == dnnl_success) &&
           dnnl_stream_create(&state.stream, state.engine, dnnl_stream_default_flags) ==
               dnnl_success;
}

/* oneDNN's own last resort is plain C. */
static bool is_fast(const_dnnl_primitive_desc_t chosen) {
    const char *name = "";
    return dnnl_primitive_desc_query(chosen, dnnl_query_impl_info_str, 0, (void *)&name) ==
               dnnl_success &&
           strncmp(name, "ref", 3) != 0;
}

static bool product_open(struct product *p, int64_t T, int64_t N, int64_t K, int64_t stride) {
    dnnl_memory_desc_t x, w, y;
    dnnl_matmul_desc_t matmul;
    dnnl_primitive_desc_t chosen = NULL;
    /* The weight [N, K] is read as its transpose. */
    const dnnl_dims_t x_dims = {T, K}, w_dims = {K, N}, y_dims = {T, N}, y_strides = {stride, 1};
    bool good =
        engine_open() &&
        dnnl_memory_desc_init_by_tag(&x, 2, x_dims, dnnl_bf16, dnnl_ab) == dnnl_success &&
        dnnl_memory_desc_init_by_tag(&w, 2, w_dims, dnnl_bf16, dnnl_ba) == dnnl_success &&
        dnnl_memory_desc_init_by_strides(&y, 2, y_dims, dnnl_f32, y_strides) == dnnl_success &&
        dnnl_matmul_desc_init(&matmul, &x, &w, NULL, &y) == dnnl_success &&
        dnnl_primitive_desc_create(&chosen, &matmul, NULL, state.engine, NULL) == dnnl_success &&
        is_fast(chosen) && dnnl_primitive_create(&p->run, chosen) == dnnl_success &&
        dnnl_memory_create(&p->x, &x, state.engine, DNNL_MEMORY_NONE) == dnnl_success &&
        dnnl_memory_create(&p->w, &w, state.engine, DNNL_MEMORY_NONE) == dnnl_success &&
        dnnl_memory_create(&p->y, &y, state.engine, DNNL_MEMORY_NONE) == dnnl_success;
    if (chosen)
        dnnl_primitive_desc_destroy(chosen);
    if (!good) {
        product_free(p);
        return false;
    }
    p->T = T;
    p->N = N;
    p->K = K;
    p->stride = stride;
    p->threads = omp_get_max_threads();
    return true;
}

static struct product *product_find(int64_t T, int64_t N, int64_t K, int64_t stride) {
    int threads = omp_get_max_threads();
    for (int i = 0; i < PRODUCTS; i++) {
        struct product *p = &state.products[i];
        if (p->run && p->T == T && p->N == N && p->K == K && p->stride == stride &&
            p->threads == threads)
            return p;
    }
    struct product *p = &state.products[state.next];
    product_free(p);
    if (!product_open(p, T, N, K, stride))
        return NULL;
    state.next = (state.next + 1) % PRODUCTS;
    return p;
}

bool gemm_many(int64_t T, int64_t N, int64_t K, const uint16_t *x, const uint16_t *w,
               int64_t stride, float *y) {
    struct product *p = product_find(T, N, K, stride);
    if (!p || dnnl_memory_set_data_handle(p->x, (void *)x) != dnnl_success ||
        dnnl_memory_set_data_handle(p->w, (void *)w) != dnnl_success ||
        dnnl_memory_set_data_handle(p->y, y) != dnnl_success)
        return false;
    const dnnl_exec_arg_t args[] = {
        {DNNL_ARG_SRC, p->x}, {DNNL_ARG_WEIGHTS, p->w}, {DNNL_ARG_DST, p->y}};
    return dnnl_primitive_execute(p->run, state.stream, 3, args) == dnnl_success &&
           dnnl_stream_wait(state.stream) == dnnl_success;
}

const char *gemm_library_bf16(void) {
    static char text[32];
    const dnnl_version_t *v = dnnl_version();
    snprintf(text, sizeof text, "%d.%d.%d", v->major, v->minor, v->patch);
    return text;
}
