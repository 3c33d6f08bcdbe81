#include "dist/commons.h"

#include "kernels/elementwise.h"
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

/* Where Open MPI keeps such memory. It does not tell when there is no room. */
#define SHARED_MEMORY "/dev/shm"

static bool has_room(int64_t bytes) {
    struct statvfs disk;
    return statvfs(SHARED_MEMORY, &disk) == 0 &&
           (double)disk.f_bavail * (double)disk.f_frsize > (double)bytes;
}

static float *line_start(void *memory) {
    return (float *)(((uintptr_t)memory + COMMONS_LINE - 1) / COMMONS_LINE * COMMONS_LINE);
}

static void open_window(struct commons *c, int64_t shared, int64_t own) {
    const struct axis *stage = &c->dist->stage;
    int64_t first = stage->rank == 0 ? commons_lines(shared) : 0;
    MPI_Aint bytes = (first + own) * (int64_t)sizeof(float) + COMMONS_LINE;
    MPI_Info info; /* each rank's pages in the memory next to it */
    void *base;
    int unit;
    MPI_Info_create(&info);
    MPI_Info_set(info, "alloc_shared_noncontig", "true");
    MPI_Win_allocate_shared(bytes, 1, info, stage->comm, &base, &c->window);
    MPI_Info_free(&info);
    for (int r = 0; r < stage->size; r++) {
        MPI_Win_shared_query(c->window, r, &bytes, &unit, &base);
        c->parts[r] = line_start(base) + (r == 0 ? commons_lines(shared) : 0);
    }
    c->shared = c->parts[0] - commons_lines(shared);
    MPI_Win_lock_all(MPI_MODE_NOCHECK, c->window);
}

void commons_open(struct dist *dist, int64_t shared, int64_t own, struct commons *c) {
    int size = dist->stage.size;
    *c = (struct commons){.dist = dist, .parts = malloc((size_t)size * sizeof *c->parts)};
    int64_t most = (shared + size * own) * (int64_t)sizeof(float) * dist->world.size;
    int usable = c->parts && size > 1 && !dist->spread && has_room(most);
    MPI_Allreduce(MPI_IN_PLACE, &usable, 1, MPI_INT, MPI_MIN, dist->world.comm);
    if (usable) {
        open_window(c, shared, own);
    } else {
        free(c->parts);
        c->parts = NULL;
    }
}

void commons_close(struct commons *c) {
    if (commons_exist(c)) {
        MPI_Win_unlock_all(c->window);
        MPI_Win_free(&c->window);
    }
    free(c->parts);
    memset(c, 0, sizeof *c);
}

void commons_meet(const struct commons *c) {
    if (!commons_exist(c))
        return;
    struct times *times = &c->dist->times;
    enum time_part before = times_enter(times, times->apart ? TIME_WAITING : TIME_COMMUNICATION);
    MPI_Win_sync(c->window);
    MPI_Barrier(c->dist->stage.comm);
    MPI_Win_sync(c->window);
    times_enter(times, before);
}

void commons_sum(const struct commons *c, int64_t at, int64_t n) {
    enum time_part before = times_enter(&c->dist->times, TIME_COMMUNICATION);
    int own = c->dist->stage.rank;
    for (int r = 0; r < c->dist->stage.size; r++)
        if (r != own)
            add_to(c->parts[own] + at, c->parts[r] + at, n);
    times_enter(&c->dist->times, before);
}
