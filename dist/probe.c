#include "dist/probe.h"

const char *site_name(enum site site) {
    static const char *const names[SITE_COUNT] = {
        [SITE_RESID_PRE] = "resid_pre",
        [SITE_Q] = "q",
        [SITE_K] = "k",
        [SITE_V] = "v",
        [SITE_ATTN_OUT] = "attn_out",
        [SITE_RESID_MID] = "resid_mid",
        [SITE_MLP_OUT] = "mlp_out",
        [SITE_RESID_POST] = "resid_post",
        [SITE_LOGITS] = "logits",
    };
    return names[site];
}
