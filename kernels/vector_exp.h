/* exp and tanh of a vector of floats, for the levels that have one: include it behind
 * vector_LEVEL.h.
 *
 * exp(x) = 2^n exp(r) with n = round(x / ln 2) and r = x - n ln 2, ln 2 in two parts so that r is
 * exact to rounding. exp(r) = 1 + r + r^2 P(r) on |r| <= ln(2)/2, P of degree 4 with the least
 * largest relative error (3e-9, Lawson's iteration). All in all within 1 unit of the last place.
 * NaN stays NaN; -infinity and all below -104 give 0; above 88.8 infinity. */
#ifndef QUIRE_KERNELS_VECTOR_EXP_H
#define QUIRE_KERNELS_VECTOR_EXP_H

static inline vector vector_exp_within(vector x) {
    vector n = vector_round(x * vector_set(0x1.715476p+0f));
    vector r = vector_fnma(n, vector_set(0x1.62e4p-1f), x);
    r = vector_fnma(n, vector_set(0x1.7f7d1cp-20f), r);
    vector p = vector_set(0x1.6a241cp-10f);
    p = vector_fma(p, r, vector_set(0x1.1239f4p-7f));
    p = vector_fma(p, r, vector_set(0x1.5558f2p-5f));
    p = vector_fma(p, r, vector_set(0x1.555492p-3f));
    p = vector_fma(p, r, vector_set(0x1.fffffcp-2f));
    p = vector_fma(p, r, vector_set(1));
    p = vector_fma(p, r, vector_set(1));
    return vector_scale(p, n);
}

/* The bounds stand first, so that a NaN passes through max and min. */
static inline vector vector_exp(vector x) {
    return vector_exp_within(vector_min(vector_set(90), vector_max(vector_set(-110), x)));
}

/* For x <= 0 or NaN. */
static inline vector vector_exp_negative(vector x) {
    return vector_exp_within(vector_max(vector_set(-110), x));
}

/* tanh(x) = 1 - 2 / (exp(2 |x|) + 1) with the sign of x; below |x| = 0.625, where that cancels, x +
 * x^3 P(x^2), P as in Cephes' tanhf. Within 2 units of the last place; NaN stays NaN. */
static inline vector vector_tanh(vector x) {
    const vector one = vector_set(1);
    vector size = vector_max(-x, x), square = x * x;
    vector p = vector_set(-5.70498872745e-3f);
    p = vector_fma(p, square, vector_set(2.06390887954e-2f));
    p = vector_fma(p, square, vector_set(-5.37397155531e-2f));
    p = vector_fma(p, square, vector_set(1.33314422036e-1f));
    p = vector_fma(p, square, vector_set(-3.33332819422e-1f));
    vector small = vector_fma(p * square, x, x);
    vector large = one - vector_set(2) / (vector_exp(size + size) + one);
    large = vector_where_less(x, vector_set(0), -large, large);
    return vector_where_less(size, vector_set(0.625f), small, large);
}

#endif
