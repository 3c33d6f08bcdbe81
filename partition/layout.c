#include "partition/layout.h"

struct range range_part(int64_t len, int64_t parts, int64_t part) {
    int64_t share = len / parts, longer = len % parts;
    struct range r = {.first = part * share + (part < longer ? part : longer),
                      .count = share + (part < longer)};
    return r;
}

struct range range_subpart(struct range whole, int64_t parts, int64_t part) {
    struct range r = range_part(whole.count, parts, part);
    r.first += whole.first;
    return r;
}

struct range range_intersect(struct range a, struct range b) {
    int64_t first = a.first > b.first ? a.first : b.first;
    int64_t end = range_end(a) < range_end(b) ? range_end(a) : range_end(b);
    struct range r = {.first = first, .count = end > first ? end - first : 0};
    return r;
}

int64_t cyclic_owner(struct cyclic c, int64_t token) {
    return token / c.block % c.parts;
}

int64_t cyclic_count(struct cyclic c, int64_t part, int64_t len) {
    int64_t round = c.block * c.parts;
    int64_t rest = len % round - part * c.block;
    if (rest < 0)
        rest = 0;
    if (rest > c.block)
        rest = c.block;
    return len / round * c.block + rest;
}

int64_t cyclic_local(struct cyclic c, int64_t token) {
    return token / (c.block * c.parts) * c.block + token % c.block;
}

int64_t cyclic_global(struct cyclic c, int64_t part, int64_t local) {
    return (local / c.block * c.parts + part) * c.block + local % c.block;
}
