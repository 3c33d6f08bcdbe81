/* What a node offers: MemAvailable, and the limits of the memory cgroups that this process is in.
 * Files of the kernel that are absent say nothing; MemAvailable must be there. */
#include "partition/plan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct kernel_text {
    char text[32768];
};

/* Such a file has no size beforehand. What is longer than the buffer is cut. */
static bool kernel_read(struct kernel_text *file, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static bool kernel_read(struct kernel_text *file, const char *format, ...) {
    char path[8192];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(path, sizeof path, format, args);
    va_end(args);
    int fd = len < (int)sizeof path ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    if (fd < 0)
        return false;
    size_t held = 0;
    ssize_t got;
    do {
        got = read(fd, file->text + held, sizeof file->text - 1 - held);
        if (got > 0)
            held += (size_t)got;
    } while (got > 0 || (got < 0 && errno == EINTR));
    file->text[held] = '\0';
    close(fd);
    return got == 0;
}

static bool parse_number(const char *text, int64_t *number) {
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || errno || value < 0)
        return false;
    *number = value;
    return true;
}

/* The number behind `name` at the start of a line. */
static bool find_number(const char *text, const char *name, int64_t *number) {
    size_t len = strlen(name);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, len) == 0)
            return parse_number(line + len, number);
    }
    return false;
}

/* One kind of hierarchy: where it is mounted below /sys/fs/cgroup, how its files are called. */
struct hierarchy {
    const char *mount;
    bool unified; /* v2 */
    const char *limit, *usage, *inactive;
    const char *source;
};

static const struct hierarchy hierarchies[] = {
    {"", true, "memory.max", "memory.current", "inactive_file ", "cgroup memory.max"},
    {"/unified", true, "memory.max", "memory.current", "inactive_file ", "cgroup memory.max"},
    {"/memory", false, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file ",
     "cgroup memory.limit_in_bytes"},
};

/* This process's cgroup in /proc/self/cgroup: lines "number:controllers:path", v2 without
 * controllers. False when the hierarchy is not there. */
static bool find_group(const char *lines, bool unified, char *group, size_t size) {
    for (const char *line = lines; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        const char *controllers = strchr(line, ':');
        const char *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path)
            return false;
        int controllers_len = (int)(path - controllers - 1);
        char list[256];
        snprintf(list, sizeof list, ",%.*s,", controllers_len, controllers + 1);
        bool meant = unified ? controllers_len == 0 : strstr(list, ",memory,") != NULL;
        int path_len = (int)strcspn(path + 1, "\n");
        if (!meant)
            continue;
        snprintf(group, size, "%.*s", path_len, path + 1);
        /* A cgroup outside of this namespace; what limits it from above is at the mount. */
        if (strstr(group, ".."))
            group[0] = '\0';
        return true;
    }
    return false;
}

/* Bytes that processes of one cgroup may still take; false where it has no limit. Cached file pages
 * that nobody used lately go first, so they count as room. */
static bool group_room(const char *cgroup, const struct hierarchy *h, const char *group,
                       int64_t *room) {
    struct kernel_text file;
    int64_t limit, usage, inactive = 0;
    if (!kernel_read(&file, "%s%s%s/%s", cgroup, h->mount, group, h->limit) ||
        !parse_number(file.text, &limit))
        return false;
    if (!kernel_read(&file, "%s%s%s/%s", cgroup, h->mount, group, h->usage) ||
        !parse_number(file.text, &usage))
        return false;
    if (kernel_read(&file, "%s%s%s/memory.stat", cgroup, h->mount, group))
        find_number(file.text, h->inactive, &inactive);
    if (inactive > usage)
        inactive = usage;
    int64_t taken = usage - inactive;
    *room = limit > taken ? limit - taken : 0;
    return true;
}

/* Follows one hierarchy from this process's cgroup up to the mount. In a container the mount itself
 * may stand for the cgroup, and directories below it are absent. */
static void limit_by(const char *cgroup, const struct hierarchy *h, const char *lines,
                     int64_t *bytes, const char **source) {
    char group[4096];
    if (!find_group(lines, h->unified, group, sizeof group))
        return;
    for (;;) {
        int64_t room;
        if (group_room(cgroup, h, group, &room) && room < *bytes) {
            *bytes = room;
            *source = h->source;
        }
        char *slash = strrchr(group, '/');
        if (!slash)
            return;
        *slash = '\0';
    }
}

enum status plan_node_memory_at(const char *proc, const char *cgroup, int64_t *bytes,
                                const char **source) {
    struct kernel_text file;
    int64_t kilobytes;
    if (!kernel_read(&file, "%s/meminfo", proc) ||
        !find_number(file.text, "MemAvailable:", &kilobytes) || kilobytes > INT64_MAX / 1024)
        return status_fail(
            "/proc/meminfo", "MemAvailable",
            "found nothing, expected a number of kB; quire needs Linux 3.14 or later");
    *bytes = kilobytes * 1024;
    *source = "MemAvailable";
    if (!kernel_read(&file, "%s/self/cgroup", proc))
        return STATUS_OK;
    for (size_t i = 0; i < sizeof hierarchies / sizeof hierarchies[0]; i++)
        limit_by(cgroup, &hierarchies[i], file.text, bytes, source);
    return STATUS_OK;
}

enum status plan_node_memory(int64_t *bytes, const char **source) {
    return plan_node_memory_at("/proc", "/sys/fs/cgroup", bytes, source);
}
