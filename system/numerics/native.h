/* What the vector kernels share: vectors of floats and integers, and what a lane keeps of a product. */

#pragma once

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

#define WIDE 16 /* floats of a vector */

enum { MAGNITUDE, FLOORED, STICKY };

typedef float vf __attribute__((vector_size(64), aligned(4), may_alias));
typedef int32_t vi __attribute__((vector_size(64), aligned(4), may_alias));

/* left * right + total rounded once, as the lanes accumulate: by the processor's own instruction where there is one.
   Elsewhere in doubles, which hold a product of two BF16 numbers whole; such a sum has 53 bits, enough for one further
   rounding to FP32 to change nothing. Compiled with -ffp-contract=off, nothing else here is fused. */
static inline __attribute__((always_inline)) vf add_product(float left, vf right, vf total) {
#if defined(__AVX512F__)
    return (vf)_mm512_fmadd_ps(_mm512_set1_ps(left), (__m512)right, (__m512)total);
#elif defined(__FP_FAST_FMAF)
    for (int i = 0; i < WIDE; i++) total[i] = __builtin_fmaf(left, right[i], total[i]);
    return total;
#else
    typedef double vd __attribute__((vector_size(128)));
    vd sum = __builtin_convertvector(right, vd) * (double)left + __builtin_convertvector(total, vd);
    return __builtin_convertvector(sum, vf);
#endif
}

/* 2^exponent, for -126 to 127. */
static inline vf power_of_two(vi exponent) { return (vf)((exponent + 127) << 23); }

/* The integer that a lane keeps of its scaled product. */
static inline vi kept_bits(vf lane, const int mode) {
    vi kept = __builtin_convertvector(lane, vi);
    if (mode == MAGNITUDE) return kept;
    vf back = __builtin_convertvector(kept, vf);
    if (mode == FLOORED) return kept + (vi)(back > lane);
    vi away = (vi)(lane < 0) | 1; /* -1 or 1 */
    return kept + (away & (vi)(back != lane) & ((kept & 1) - 1));
}

/* FP32 pattern to BF16 code: nearest even, flush below 2^-126, canonical NaN. */
static inline uint16_t bf16_of(uint32_t bits, int saturate) {
    uint32_t magnitude = bits & 0x7FFFFFFFu;
    uint32_t code = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
    code = (code & 0x7F80u) == 0 ? code & 0x8000u : code;
    uint32_t overflow = saturate && (code & 0x7FFFu) == 0x7F80u && magnitude < 0x7F800000u;
    code = overflow ? (code & 0x8000u) | 0x7F7Fu : code;
    return (uint16_t)(magnitude > 0x7F800000u ? 0x7FC0u : code);
}
