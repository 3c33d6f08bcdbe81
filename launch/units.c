#include "launch/units.h"

#include <inttypes.h>
#include <stdio.h>

struct units_text units_bytes(int64_t bytes) {
    static const char *const names[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    struct units_text out;
    if (bytes < 1024) {
        snprintf(out.text, sizeof out.text, "%" PRId64 " bytes", bytes);
        return out;
    }
    double size = (double)bytes / 1024;
    int unit = 0;
    while (size >= 1023.95 && unit < 5) {
        size /= 1024;
        unit++;
    }
    snprintf(out.text, sizeof out.text, "%.1f %s", size, names[unit]);
    return out;
}

struct units_text units_seconds(double seconds) {
    struct units_text out;
    if (!(seconds < 1e9)) {
        snprintf(out.text, sizeof out.text, "unknown");
        return out;
    }
    long long whole = (long long)(seconds + 0.5);
    if (whole >= 3600)
        snprintf(out.text, sizeof out.text, "%lld h %02lld min", whole / 3600, whole / 60 % 60);
    else if (whole >= 60)
        snprintf(out.text, sizeof out.text, "%lld min %02lld s", whole / 60, whole % 60);
    else if (seconds >= 1)
        snprintf(out.text, sizeof out.text, "%.1f s", seconds);
    else
        snprintf(out.text, sizeof out.text, "%.0f ms", seconds * 1e3);
    return out;
}

struct units_text units_rate(double per_second) {
    struct units_text out;
    snprintf(out.text, sizeof out.text, "%.*f", per_second < 1000 ? 1 : 0, per_second);
    return out;
}
