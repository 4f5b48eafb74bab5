/* An exact oracle of the arithmetic, fast enough for millions of sums and written from its definition alone.

   Every number stands on one line of 640 bits, fixed point in two's complement, so a product, a lane, a sum of any two
   numbers is exact; what is kept of a lane are the bits at and above its quantum, and a rounding looks at the bits
   below its last one. No float is computed with. Results are FP32 patterns; the one NaN is 0x7FC00000. Held to
   fractions of whole numbers (exact.py) on a sample. */

#include <stdint.h>

typedef __int128 whole;

namespace {
constexpr int LIMBS = 10, LOW = -320; /* 64-bit limbs, exponent of the lowest bit */
constexpr uint32_t NOT_A_NUMBER = 0x7FC00000u, INFINITE = 0x7F800000u, MINUS = 0x80000000u;
enum { MAGNITUDE, FLOORED, STICKY };
enum { FP32, BF16, FIXED };

struct Wide {
    uint64_t limb[LIMBS];
};

struct Rules {
    int lanes, guard, mode, tile_bf16, accumulator, pre, stored_guard, fixed_bits, fixed_guard;
};

Wide placed(whole value, int exponent) {
    Wide r;
    const uint64_t fill = value < 0 ? ~0ull : 0ull, parts[3] = {(uint64_t)value, (uint64_t)(value >> 64), fill};
    const int at = (exponent - LOW) / 64, bit = (exponent - LOW) % 64;
    for (int i = 0; i < LIMBS; i++) {
        const int k = i - at;
        const uint64_t here = k < 0 ? 0 : k < 3 ? parts[k] : fill, below = k < 1 ? 0 : k < 4 ? parts[k - 1] : fill;
        r.limb[i] = bit ? here << bit | below >> (64 - bit) : here;
    }
    return r;
}

Wide sum(const Wide &a, const Wide &b) {
    Wide r;
    whole carry = 0;
    for (int i = 0; i < LIMBS; i++) {
        const unsigned __int128 total = (unsigned __int128)a.limb[i] + b.limb[i] + (unsigned __int128)carry;
        r.limb[i] = (uint64_t)total, carry = (whole)(total >> 64);
    }
    return r;
}

bool negative(const Wide &v) { return v.limb[LIMBS - 1] >> 63; }

Wide magnitude(const Wide &v) {
    if (!negative(v)) return v;
    Wide r = v;
    for (auto &limb : r.limb) limb = ~limb;
    return sum(r, placed(1, LOW));
}

bool any_below(const Wide &v, int exponent) {
    const int at = (exponent - LOW) / 64, bit = (exponent - LOW) % 64;
    uint64_t found = bit ? v.limb[at] << (64 - bit) : 0;
    for (int i = 0; i < at; i++) found |= v.limb[i];
    return found != 0;
}

/* The 64 bits of which the lowest has this exponent. */
int64_t bits_from(const Wide &v, int exponent) {
    const int at = (exponent - LOW) / 64, bit = (exponent - LOW) % 64;
    const uint64_t above = at + 1 < LIMBS ? v.limb[at + 1] : negative(v) ? ~0ull : 0ull;
    return (int64_t)(bit ? v.limb[at] >> bit | above << (64 - bit) : v.limb[at]);
}

int top_bit(const Wide &v) {
    for (int i = LIMBS - 1; i >= 0; i--)
        if (v.limb[i]) return LOW + 64 * i + 63 - __builtin_clzll(v.limb[i]);
    return LOW - 1;
}

/* What a lane keeps of v, in steps of 2^quantum. */
int64_t steps(const Wide &v, int quantum, int mode) {
    if (mode == FLOORED) return bits_from(v, quantum);
    const Wide size = magnitude(v);
    const int64_t kept = bits_from(size, quantum) | (mode == STICKY && any_below(size, quantum));
    return negative(v) ? -kept : kept;
}

/* To nearest even at 24 or 8 bits, binary32's exponents, gradual underflow. */
uint32_t rounded(const Wide &v, int bits) {
    const Wide size = magnitude(v);
    const int top = top_bit(size), least = -126 - bits + 1;
    if (top < LOW) return 0;
    int lowest = top - bits + 1 < least ? least : top - bits + 1;
    uint64_t kept = (uint64_t)bits_from(size, lowest);
    const bool half = bits_from(size, lowest - 1) & 1;
    kept += half && (any_below(size, lowest - 1) || (kept & 1));
    kept <<= 24 - bits, lowest -= 24 - bits;
    if (kept >> 24) kept >>= 1, lowest++;
    uint32_t pattern = kept >> 23 ? (uint32_t)((lowest + 150) << 23) + (uint32_t)(kept & 0x7FFFFF) : (uint32_t)kept;
    if (kept >> 23 && lowest + 150 >= 255) pattern = INFINITE;
    return pattern | (negative(v) ? MINUS : 0);
}

bool nan_of(uint32_t p) { return (p & ~MINUS) > INFINITE; }
bool inf_of(uint32_t p) { return (p & ~MINUS) == INFINITE; }

Wide value_of(uint32_t p) {
    const int field = p >> 23 & 0xFF;
    const int64_t size = (p & 0x7FFFFF) | (field ? 0x800000 : 0);
    return placed(p & MINUS ? -size : size, field ? field - 150 : -149);
}

uint32_t add(uint32_t a, uint32_t b, int bits) {
    if (nan_of(a) || nan_of(b)) return NOT_A_NUMBER;
    if (inf_of(a) || inf_of(b)) return inf_of(a) && inf_of(b) && a != b ? NOT_A_NUMBER : inf_of(a) ? a : b;
    const Wide total = sum(value_of(a), value_of(b));
    return top_bit(total) < LOW ? a & b & MINUS : rounded(total, bits);
}

struct Operand {
    int field, size; /* size: signed significand; 0 for zeros and subnormals */
    bool nan, inf;
    explicit Operand(uint16_t code)
        : field(code >> 7 & 0xFF), size(field ? (code & 0x7F) | 0x80 : 0), nan((code & 0x7FFF) > 0x7F80),
          inf((code & 0x7FFF) == 0x7F80) {
        if (code & 0x8000) size = -size;
    }
};

/* 0 where the product is finite. */
uint32_t special(const Operand &a, const Operand &b) {
    if (a.nan || b.nan) return NOT_A_NUMBER;
    if (!a.inf && !b.inf) return 0;
    if (!a.size || !b.size) return NOT_A_NUMBER;
    return INFINITE | ((a.size < 0) != (b.size < 0) ? MINUS : 0);
}

Wide product(const Operand &a, const Operand &b) { return placed(a.size * b.size, a.field + b.field - 268); }

uint32_t tile(const uint16_t *x, const uint16_t *w, int count, const Rules &r) {
    uint32_t found = 0;
    int top = 0, left = 0, right = 0;
    for (int k = 0; k < count; k++) {
        const Operand a(x[k]), b(w[k]);
        const uint32_t s = special(a, b);
        if (s) found = found && found != s ? NOT_A_NUMBER : s;
        if (a.size && b.size && a.field + b.field > top) top = a.field + b.field;
        if (a.size && a.field > left) left = a.field;
        if (b.size && b.field > right) right = b.field;
    }
    if (found) return found;
    int quantum = top - 268 - r.guard;
    const int serial = left - 134 - r.guard, stored = right - 134 - r.stored_guard;
    whole total = 0;
    for (int k = 0; k < count; k++) {
        const Operand a(x[k]), b(w[k]);
        if (r.pre)
            total += (whole)steps(placed(a.size, a.field - 134), serial, MAGNITUDE) *
                     steps(placed(b.size, b.field - 134), stored, MAGNITUDE);
        else if (a.size && b.size)
            total += steps(product(a, b), quantum, r.mode);
    }
    if (total == 0) return 0;
    return rounded(placed(total, r.pre ? serial + stored : quantum), r.tile_bf16 ? 8 : 24);
}

uint32_t fixed_sum(const uint16_t *x, const uint16_t *w, int64_t count, const Rules &r) {
    uint32_t found = 0;
    int top = 0;
    for (int64_t k = 0; k < count; k++) {
        const Operand a(x[k]), b(w[k]);
        const uint32_t s = special(a, b);
        if (s) found = found && found != s ? NOT_A_NUMBER : s;
        if (a.size && b.size && a.field + b.field > top) top = a.field + b.field;
    }
    if (found) return found;
    const int64_t most = ((int64_t)1 << (r.fixed_bits - 1)) - 1;
    int64_t total = 0;
    for (int64_t k = 0; k < count; k++) {
        const Operand a(x[k]), b(w[k]);
        if (!a.size || !b.size) continue;
        total += steps(product(a, b), top - 268 - r.fixed_guard, MAGNITUDE);
        total = total > most ? most : total < -most - 1 ? -most - 1 : total;
    }
    return total ? rounded(placed(total, top - 268 - r.fixed_guard), 24) : 0;
}

uint32_t lane_sum(const uint16_t *x, const uint16_t *w, int64_t count, const Rules &r) {
    if (r.accumulator == FIXED) return fixed_sum(x, w, count, r);
    const int bits = r.accumulator == BF16 ? 8 : 24;
    uint32_t total = 0;
    for (int64_t k = 0; k < count; k++) {
        const Operand a(x[k]), b(w[k]);
        const uint32_t s = special(a, b);
        if (s || inf_of(total) || nan_of(total)) {
            total = add(total, s, bits);
        } else if (a.size && b.size) {
            const Wide exact = sum(value_of(total), product(a, b));
            total = top_bit(exact) < LOW ? 0 : rounded(exact, bits);
        }
    }
    return total;
}
} // namespace

/* x (g, m, k), w (g, n, k), contiguous codes -> out (g, m, n), FP32 patterns; lanes_alone: lane accumulation. */
extern "C" void oracle_products(const uint16_t *x, const uint16_t *w, int64_t groups, int64_t m, int64_t n, int64_t depth,
                                const int *rules, int lanes_alone, uint32_t *out) {
    const Rules &r = *(const Rules *)rules;
    for (int64_t g = 0; g < groups; g++)
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = 0; j < n; j++) {
                const uint16_t *a = x + (g * m + i) * depth, *b = w + (g * n + j) * depth;
                uint32_t total = 0;
                if (lanes_alone) total = lane_sum(a, b, depth, r);
                for (int64_t k = 0; !lanes_alone && k < depth; k += r.lanes) {
                    const int count = (int)(depth - k < r.lanes ? depth - k : r.lanes);
                    total = add(total, tile(a + k, b + k, count, r), r.accumulator == BF16 ? 8 : 24);
                }
                *out++ = total;
            }
}

/* FP32 patterns as BF16 results, widened: rounded, flushed below 2^-126, at most the largest number if `saturate`. */
extern "C" void oracle_bf16(const uint32_t *from, int64_t count, int saturate, uint32_t *out) {
    for (int64_t i = 0; i < count; i++) {
        const uint32_t p = from[i], sign = p & MINUS;
        uint32_t r = nan_of(p) ? NOT_A_NUMBER : inf_of(p) ? p : rounded(value_of(p), 8) | sign;
        if (!nan_of(r) && (r & INFINITE) == 0) r = sign;
        if (saturate && inf_of(r) && !inf_of(p)) r = sign | 0x7F7F0000u;
        out[i] = r;
    }
}

/* a + b in FP32, pattern by pattern. */
extern "C" void oracle_add(const uint32_t *a, const uint32_t *b, int64_t count, uint32_t *out) {
    for (int64_t i = 0; i < count; i++) out[i] = add(a[i], b[i], 24);
}
