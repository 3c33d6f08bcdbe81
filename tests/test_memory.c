#include "partition/plan.h"
#include "tests/testing.h"

/* A tree of the kernel's files: MemAvailable of 8000 kB, this process in /job/step of v1, v2. */
struct tree {
    struct path root, proc, cgroup;
};

static void put(struct tree *tree, const char *dir, const char *name, const char *text) {
    struct path whole = path_of("%s/%s", tree->root.text, dir);
    for (char *slash = whole.text + strlen(tree->root.text); (slash = strchr(slash + 1, '/'));) {
        *slash = '\0';
        mkdir(whole.text, 0700);
        *slash = '/';
    }
    mkdir(whole.text, 0700);
    file_write_text(whole.text, name, text);
}

static struct tree tree_new(const char *groups) {
    struct tree tree = {.root = files_new()};
    tree.proc = path_of("%s/proc", tree.root.text);
    tree.cgroup = path_of("%s/cgroup", tree.root.text);
    put(&tree, "proc", "meminfo",
        "MemTotal:       16000 kB\nMemFree:         100 kB\nMemAvailable:    8000 kB\n");
    put(&tree, "proc/self", "cgroup", groups);
    return tree;
}

static void check_memory(struct tree *tree, int64_t bytes, const char *source) {
    int64_t found = -1;
    const char *found_source = "";
    ck_assert_int_eq(plan_node_memory_at(tree->proc.text, tree->cgroup.text, &found, &found_source),
                     STATUS_OK);
    ck_assert_int_eq(found, bytes);
    ck_assert_str_eq(found_source, source);
}

START_TEST(memory_v2) {
    struct tree tree = tree_new("0::/job/step\n");
    check_memory(&tree, 8000 * 1024, "MemAvailable");
    put(&tree, "cgroup/job/step", "memory.max", "max\n");
    put(&tree, "cgroup/job/step", "memory.current", "1000\n");
    check_memory(&tree, 8000 * 1024, "MemAvailable");
    /* The cgroup above limits too. */
    put(&tree, "cgroup/job", "memory.max", "1000000\n");
    put(&tree, "cgroup/job", "memory.current", "400000\n");
    check_memory(&tree, 600000, "cgroup memory.max");
    /* File pages that may go count as room, as far as they are charged. */
    put(&tree, "cgroup/job", "memory.stat", "anon 1\nfile 150000\ninactive_file 100000\n");
    check_memory(&tree, 700000, "cgroup memory.max");
    put(&tree, "cgroup/job", "memory.stat", "inactive_file 999999\n");
    check_memory(&tree, 1000000, "cgroup memory.max");
    put(&tree, "cgroup/job/step", "memory.max", "1500\n");
    check_memory(&tree, 500, "cgroup memory.max");
    put(&tree, "cgroup/job/step", "memory.current", "2000\n");
    check_memory(&tree, 0, "cgroup memory.max");
    files_remove(tree.root);
}
END_TEST

START_TEST(memory_v1) {
    struct tree tree = tree_new("9:name=systemd:/x\n4:cpu,memory:/job/step\n1:cpu:/y\n0::/\n");
    put(&tree, "cgroup/memory/job/step", "memory.limit_in_bytes", "9223372036854771712\n");
    put(&tree, "cgroup/memory/job/step", "memory.usage_in_bytes", "5000\n");
    check_memory(&tree, 8000 * 1024, "MemAvailable");
    put(&tree, "cgroup/memory/job", "memory.limit_in_bytes", "2000000\n");
    put(&tree, "cgroup/memory/job", "memory.usage_in_bytes", "1500000\n");
    put(&tree, "cgroup/memory/job", "memory.stat",
        "inactive_file 7\ntotal_cache 9\ntotal_inactive_file 200000\n");
    check_memory(&tree, 700000, "cgroup memory.limit_in_bytes");
    /* v2 beside it, without the memory controller. */
    put(&tree, "cgroup/unified", "cgroup.procs", "1\n");
    check_memory(&tree, 700000, "cgroup memory.limit_in_bytes");
    files_remove(tree.root);
}
END_TEST

/* In a container the path may lead nowhere, and the mount is the container's own cgroup. */
START_TEST(memory_in_a_container) {
    static const char *const groups[] = {"0::/docker/0123\n", "0::/\n", "0::/../../other\n"};
    for (int i = 0; i < 3; i++) {
        struct tree tree = tree_new(groups[i]);
        put(&tree, "cgroup", "memory.max", "3000000\n");
        put(&tree, "cgroup", "memory.current", "1000000\n");
        /* Nothing of the kernel's: what a path must not lead to. */
        put(&tree, "", "memory.max", "1\n");
        put(&tree, "", "memory.current", "0\n");
        check_memory(&tree, 2000000, "cgroup memory.max");
        files_remove(tree.root);
    }
    struct tree tree = tree_new("4:memory:/docker/0123\n");
    put(&tree, "cgroup/memory", "memory.limit_in_bytes", "3000000\n");
    put(&tree, "cgroup/memory", "memory.usage_in_bytes", "1000000\n");
    check_memory(&tree, 2000000, "cgroup memory.limit_in_bytes");
    files_remove(tree.root);
}
END_TEST

START_TEST(memory_strange_files) {
    static const char *const groups[] = {
        "", "\n\n", "::", "4:memory", "0:", "memory:/x\n0::\n", "4:notmemory:/a\n4:memory2:/a"};
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
        struct tree tree = tree_new(groups[i]);
        put(&tree, "cgroup/memory/a", "memory.limit_in_bytes", "1\n");
        put(&tree, "cgroup/memory/a", "memory.usage_in_bytes", "1\n");
        put(&tree, "cgroup", "memory.max", "-5\n");
        put(&tree, "cgroup", "memory.current", "99999999999999999999\n");
        check_memory(&tree, 8000 * 1024, "MemAvailable");
        files_remove(tree.root);
    }
    static const char *const infos[] = {"",
                                        "MemFree: 5 kB\n",
                                        "MemAvailable: many kB\n",
                                        "MemAvailable: -5 kB\n",
                                        "MemAvailable: 9223372036854775807 kB\n",
                                        "xMemAvailable: 5 kB\n"};
    struct tree tree = tree_new("0::/\n");
    for (size_t i = 0; i < sizeof infos / sizeof infos[0]; i++) {
        int64_t bytes;
        const char *source;
        put(&tree, "proc", "meminfo", infos[i]);
        ck_assert_int_eq(plan_node_memory_at(tree.proc.text, tree.cgroup.text, &bytes, &source),
                         STATUS_FAILED);
        ck_assert_ptr_nonnull(strstr(status_text(), "meminfo: MemAvailable: found "));
    }
    files_remove(tree.root);
}
END_TEST

/* What this machine says lies within its memory. */
START_TEST(memory_here) {
    int64_t bytes = -1;
    const char *source = NULL;
    ck_assert_msg(plan_node_memory(&bytes, &source) == STATUS_OK, "%s", status_text());
    ck_assert_int_gt(bytes, 0);
    ck_assert_int_le(bytes, (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE));
    ck_assert_ptr_nonnull(source);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("memory");
    suite_add(suite, "memory",
              (const TTest *const[]){memory_v2, memory_v1, memory_in_a_container,
                                     memory_strange_files, memory_here, NULL});
    return suite_run(suite);
}
