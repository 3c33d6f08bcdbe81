#include "partition/mesh.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Three axes multiply without overflow. */
#define MESH_AXIS_MAX (1 << 20)

struct mesh_place mesh_place(struct mesh m, int64_t rank) {
    struct mesh_place p = {.pp = rank / (m.tp * m.sp), .tp = rank / m.sp % m.tp, .sp = rank % m.sp};
    return p;
}

int64_t mesh_rank(struct mesh m, struct mesh_place place) {
    return (place.pp * m.tp + place.tp) * m.sp + place.sp;
}

static int64_t *mesh_axis(struct mesh *m, const char *name) {
    if (strncmp(name, "pp=", 3) == 0)
        return &m->pp;
    if (strncmp(name, "tp=", 3) == 0)
        return &m->tp;
    if (strncmp(name, "sp=", 3) == 0)
        return &m->sp;
    return NULL;
}

enum status mesh_parse(const char *text, struct mesh *request) {
    static const char form[] = "expected pp=A,tp=B,sp=C with whole numbers from 1";
    struct mesh m = {0, 0, 0};
    for (const char *at = text;;) {
        int64_t *axis = mesh_axis(&m, at);
        if (!axis || *axis)
            return status_usage("--mesh", "found \"%s\", %s, each axis at most once", text, form);
        char *end;
        errno = 0;
        long long n = at[3] >= '0' && at[3] <= '9' ? strtoll(at + 3, &end, 10) : 0;
        if (n < 1 || n > MESH_AXIS_MAX || errno || (*end != ',' && *end != '\0'))
            return status_usage("--mesh", "found \"%s\", %s", text, form);
        *axis = n;
        if (*end == '\0')
            break;
        at = end + 1;
    }
    *request = m;
    return STATUS_OK;
}

/* Largest divisor of ranks that divides kv_heads too. */
static int64_t common_divisor(int64_t ranks, int64_t kv_heads) {
    while (kv_heads) {
        int64_t rest = ranks % kv_heads;
        ranks = kv_heads;
        kv_heads = rest;
    }
    return ranks;
}

enum status mesh_complete(struct mesh request, int64_t ranks, const struct shape *shape,
                          struct mesh *mesh) {
    struct mesh m = request;
    if (!m.pp)
        m.pp = m.tp && m.sp && ranks % (m.tp * m.sp) == 0 ? ranks / (m.tp * m.sp) : 1;
    int64_t stage = ranks > m.pp ? ranks / m.pp : 1;
    if (!m.tp)
        m.tp = m.sp ? stage / m.sp : common_divisor(stage, shape->kv_heads);
    if (!m.tp)
        m.tp = 1;
    if (!m.sp)
        m.sp = stage / m.tp;
    if (!m.sp)
        m.sp = 1;
    if (mesh_ranks(m) != ranks)
        return status_usage("--mesh",
                            "found pp=%" PRId64 ",tp=%" PRId64 ",sp=%" PRId64 ", a mesh of %" PRId64
                            " ranks, expected pp*tp*sp equal to the %" PRId64
                            " ranks of this job; change --mesh or the number of ranks",
                            m.pp, m.tp, m.sp, mesh_ranks(m), ranks);
    if (m.pp > shape->layers)
        return status_usage("--mesh",
                            "found pp=%" PRId64 " stages, expected at most one per layer (the "
                            "model has %" PRId64 "); take a smaller pp",
                            m.pp, shape->layers);
    *mesh = m;
    return STATUS_OK;
}
