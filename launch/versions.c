#define PCRE2_CODE_UNIT_WIDTH 8
#include "launch/versions.h"

#include "kernels/cpu.h"
#include "kernels/gemm.h"
#include <hdf5.h>
#include <jansson.h>
#include <mpi.h>
#include <pcre2.h>
#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

/* Open MPI's text goes on about how it was built; the first part is name and version. */
static void mpi_version(char *out, size_t size) {
    char text[MPI_MAX_LIBRARY_VERSION_STRING];
    int len;
    MPI_Get_library_version(text, &len);
    snprintf(out, size, "%.*s", (int)strcspn(text, ",\n"), text);
}

static void pcre2_version(char *out, size_t size) {
    char text[64] = "";
    pcre2_config(PCRE2_CONFIG_VERSION, text);
    snprintf(out, size, "%s", text);
}

void versions_list(struct library_version l[LIBRARY_COUNT]) {
    unsigned major = 0, minor = 0, release = 0;
    H5get_libversion(&major, &minor, &release);
    l[0].name = "mpi";
    mpi_version(l[0].version, sizeof l[0].version);
    l[1].name = "openblas";
    snprintf(l[1].version, sizeof l[1].version, "%s", gemm_library());
    l[2].name = "onednn";
    snprintf(l[2].version, sizeof l[2].version, "%s", gemm_library_bf16());
    l[3].name = "hdf5";
    snprintf(l[3].version, sizeof l[3].version, "%u.%u.%u", major, minor, release);
    l[4].name = "jansson";
    snprintf(l[4].version, sizeof l[4].version, "%s", jansson_version_str());
    l[5].name = "pcre2";
    pcre2_version(l[5].version, sizeof l[5].version);
    l[6].name = "utf8proc";
    snprintf(l[6].version, sizeof l[6].version, "%s", utf8proc_version());
}

void versions_print(void) {
    struct library_version libraries[LIBRARY_COUNT];
    versions_list(libraries);
    printf("quire %s\n", QUIRE_VERSION);
    for (int i = 0; i < LIBRARY_COUNT; i++)
        printf("%-10s%s\n", libraries[i].name, libraries[i].version);
    printf("%-10s%s, of up to %s here\n", "kernels", "generic, avx2, avx512, avx512_bf16, amx",
           isa_name(isa_available()));
    printf("%-10s%s\n", "blas core", gemm_core());
}
