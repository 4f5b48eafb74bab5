/* The arithmetic of the arrays on a CPU's vector registers: the same bits as scalar.py, many outputs at a time.

   Operands are BF16 codes with any strides. 64 rows of an operand and one tile of `lanes` products make a panel,
   with the row's largest exponent taken out: significands as floats in (-2, 2), exponents as bytes at or below 0.
   A product of two such floats is exact. What a lane keeps of it is one multiplication by a power of two and one
   conversion to an integer away; integers add exactly in any order. Exponents more than FLOOR below their row's
   largest are held there: they only ever decide sums that are out of reach of the kept bits, and an output whose
   largest exponent sum is not above DEEP, or whose result is not a normal float, is done again by `exact_tile`.
   Largest exponent sums are held at DEEP before they make a power of two: what an empty row, a masked group or a far
   one leaves there is no exponent, and as the field of a float it could read as an infinity, and 0 times that as NaN.

   Plain C with GCC's vector extension: 512-bit registers where the machine has them, pairs or quads where not. */

#include "native.h"

#define PANEL 64   /* rows of a panel */
#define ROWS 4     /* rows of the inner kernel */
#define SPAN 2     /* vectors of the inner kernel */
#define DEPTH 512  /* products packed at a time, rounded to whole tiles */
#define FLOOR (-60)
#define ZERO (-64)
#define DEEP (-28)
#define MASKED (-1000000)

#ifdef __AVX512F__
#define KEEP(vector) asm("" : "+v"(vector)) /* in its register, not loaded again for each use */
#else
#define KEEP(vector)
#endif

typedef int64_t vl __attribute__((vector_size(64), aligned(4), may_alias));
typedef int8_t vb __attribute__((vector_size(64), aligned(4), may_alias));
typedef int8_t vq __attribute__((vector_size(16), aligned(1), may_alias));

typedef struct {
    const uint16_t *codes;
    int64_t row, k; /* strides, in codes */
    int64_t rows;
} Operand;

typedef struct {
    float *value;     /* [k][PANEL] */
    int8_t *exponent; /* [k][PANEL], or four equal bytes a row for the broadcast side */
    int32_t *top;     /* [PANEL] exponent field of the row's largest, at its place in a float */
    int8_t *empty;    /* [PANEL] -1 where the whole row is zero */
    int32_t *range;   /* smallest and largest `top` as fields */
} Panel;

typedef struct {
    int lanes, guard, mode, tile_bf16, sum_bf16;
} Rules;

/* -- panels ----------------------------------------------------------------------------------------- */

typedef uint16_t v8 __attribute__((vector_size(16), aligned(2), may_alias));
typedef uint32_t v4 __attribute__((vector_size(16), aligned(2), may_alias));
typedef uint64_t v2 __attribute__((vector_size(16), aligned(2), may_alias));

/* 8 rows of 8 codes, turned: to[k][r] of lines of PANEL. */
static inline void transpose(const uint16_t *from, int64_t row, uint16_t *to) {
    v8 a[8];
    v4 b[8];
    for (int i = 0; i < 8; i++) a[i] = *(const v8 *)(from + i * row);
    for (int i = 0; i < 4; i++) {
        b[i] = (v4)__builtin_shuffle(a[2 * i], a[2 * i + 1], v8{0, 8, 1, 9, 2, 10, 3, 11});
        b[i + 4] = (v4)__builtin_shuffle(a[2 * i], a[2 * i + 1], v8{4, 12, 5, 13, 6, 14, 7, 15});
    }
    for (int half = 0; half < 2; half++)
        for (int pair = 0; pair < 2; pair++) {
            v4 mask = pair ? v4{2, 6, 3, 7} : v4{0, 4, 1, 5};
            v2 low = (v2)__builtin_shuffle(b[4 * half], b[4 * half + 1], mask);
            v2 high = (v2)__builtin_shuffle(b[4 * half + 2], b[4 * half + 3], mask);
            *(v2 *)(to + (4 * half + 2 * pair) * PANEL) = __builtin_shuffle(low, high, v2{0, 2});
            *(v2 *)(to + (4 * half + 2 * pair + 1) * PANEL) = __builtin_shuffle(low, high, v2{1, 3});
        }
}

static void gather(const Operand *o, int64_t row0, int64_t k0, int64_t depth, int lanes, uint16_t (*codes)[PANEL]) {
    int64_t rows = o->rows - row0 < PANEL ? o->rows - row0 : PANEL;
    int64_t count = depth - k0 < lanes ? depth - k0 : lanes;
    if (rows < PANEL || count < lanes) memset(codes, 0, sizeof(uint16_t) * PANEL * (size_t)lanes);
    const uint16_t *from = o->codes + row0 * o->row + k0 * o->k;
    if (o->row == 1) {
        for (int64_t k = 0; k < count; k++) memcpy(codes[k], from + k * o->k, sizeof(uint16_t) * (size_t)rows);
    } else if (o->k == 1) {
        int64_t whole_rows = rows / 8 * 8, whole = count / 8 * 8;
        for (int64_t r = 0; r < whole_rows; r += 8)
            for (int64_t k = 0; k < whole; k += 8) transpose(from + r * o->row + k, o->row, &codes[k][r]);
        for (int64_t r = 0; r < rows; r++)
            for (int64_t k = r < whole_rows ? whole : 0; k < count; k++) codes[k][r] = from[r * o->row + k];
    } else {
        for (int64_t k = 0; k < count; k++)
            for (int64_t r = 0; r < rows; r++) codes[k][r] = from[r * o->row + k * o->k];
    }
}

/* One panel of one tile; `spread` stores each exponent byte four times. Rows with NaN or infinity set their flag. */
static void pack(const Operand *o, int64_t row0, int64_t k0, int64_t depth, int lanes, int spread, Panel p,
                 uint8_t *special, uint16_t (*codes)[PANEL]) {
    uint16_t top[PANEL] = {0};
    gather(o, row0, k0, depth, lanes, codes);
    for (int k = 0; k < lanes; k++)
        for (int r = 0; r < PANEL; r++) {
            uint16_t field = (codes[k][r] >> 7) & 0xFF;
            top[r] = top[r] > field ? top[r] : field;
        }
    p.range[0] = 255, p.range[1] = 0;
    for (int r = 0; r < PANEL; r++) {
        p.empty[r] = top[r] == 0 ? -1 : 0;
        int32_t field = top[r] ? top[r] : 127;
        p.top[r] = field << 23;
        p.range[0] = field < p.range[0] ? field : p.range[0];
        p.range[1] = field > p.range[1] ? field : p.range[1];
        if (top[r] == 0xFF) special[row0 + r] = 1;
    }
    for (int k = 0; k < lanes; k++) {
        uint32_t *value = (uint32_t *)p.value + (size_t)k * PANEL;
        int16_t relative[PANEL];
        for (int r = 0; r < PANEL; r++) {
            int16_t field = (codes[k][r] >> 7) & 0xFF;
            int16_t below = (int16_t)(field - (int16_t)top[r]);
            below = below < FLOOR ? FLOOR : below;
            relative[r] = field ? below : ZERO;
        }
        for (int r = 0; r < PANEL; r++) {
            uint32_t code = codes[k][r];
            uint32_t bits = (code & 0x8000u) << 16 | (uint32_t)(127 + relative[r]) << 23 | (code & 0x7Fu) << 16;
            value[r] = relative[r] == ZERO ? 0 : bits;
        }
        if (spread) {
            uint32_t *to = (uint32_t *)p.exponent + (size_t)k * PANEL;
            for (int r = 0; r < PANEL; r++) to[r] = (uint32_t)(uint8_t)relative[r] * 0x01010101u;
        } else {
            int8_t *to = p.exponent + (size_t)k * PANEL;
            for (int r = 0; r < PANEL; r++) to[r] = (int8_t)relative[r];
        }
    }
}

/* -- one tile, exactly ------------------------------------------------------------------------------- */

static double code_value(uint16_t code) {
    uint32_t bits = (uint32_t)code << 16;
    float value;
    memcpy(&value, &bits, 4);
    return code & 0x7F80 ? (double)value : 0.0;
}

/* Nearest even at 8 significant bits, gradual underflow; any finite double. */
static double to_bf16(double x) {
    double magnitude = fabs(x);
    if (!(magnitude < HUGE_VAL) || magnitude == 0.0) return x;
    int exponent;
    frexp(magnitude, &exponent);
    int lowest = exponent - 8 < -133 ? -133 : exponent - 8;
    double rounded = ldexp(nearbyint(ldexp(magnitude, -lowest)), lowest);
    if (rounded >= 0x1p128) rounded = HUGE_VAL;
    return copysign(rounded, x);
}

/* a + b rounded once to FP32 or BF16; the part that the sum of doubles lost breaks a tie. */
static double add_rounded(double a, double b, int bf16) {
    double total = a + b;
    if (!bf16) return (double)(float)total;
    if (fabs(total) < HUGE_VAL && (double)(float)total == total) {
        double part = total - a, lost = (a - (total - part)) + (b - part);
        if (lost != 0.0) total = nextafter(total, lost > 0.0 ? HUGE_VAL : -HUGE_VAL);
    }
    return to_bf16(total);
}

static double round_lane(double lane, int mode) {
    if (mode == FLOORED) return floor(lane);
    double kept = trunc(lane);
    if (mode == STICKY && kept != lane && fmod(kept, 2.0) == 0.0) kept += lane > 0 ? 1.0 : -1.0;
    return kept;
}

static double round_tile(double sum, int weight, const Rules *r) {
    double value = ldexp(sum, weight);
    return r->tile_bf16 ? to_bf16(value) : (double)(float)value;
}

static double exact_tile(const Operand *x, int64_t m, const Operand *w, int64_t n, int64_t k0, int64_t depth,
                         const Rules *r) {
    int64_t end = k0 + r->lanes < depth ? k0 + r->lanes : depth;
    const uint16_t *a = x->codes + m * x->row, *b = w->codes + n * w->row;
    int top = MASKED;
    for (int64_t k = k0; k < end; k++) {
        int ea = (a[k * x->k] >> 7) & 0xFF, eb = (b[k * w->k] >> 7) & 0xFF;
        if (ea && eb && ea + eb > top) top = ea + eb;
    }
    if (top == MASKED) return 0.0;
    int weight = top - 268 - r->guard;
    double sum = 0.0;
    for (int64_t k = k0; k < end; k++) {
        double product = code_value(a[k * x->k]) * code_value(b[k * w->k]);
        sum += round_lane(ldexp(product, -weight), r->mode);
    }
    return round_tile(sum, weight, r);
}

/* -- the fused tree ---------------------------------------------------------------------------------- */

/* ROWS rows by SPAN vectors: sums of kept lanes. */
static inline __attribute__((always_inline)) void sum_lanes(const float *x, const float *w, int lanes, const int mode,
                                                            vf (*scale)[SPAN], vi (*sum)[SPAN]) {
    for (int r = 0; r < ROWS; r++)
        for (int v = 0; v < SPAN; v++) sum[r][v] = vi{};
    for (int k = 0; k < lanes; k++) {
        vf right[SPAN];
        for (int v = 0; v < SPAN; v++) {
            right[v] = *(const vf *)(w + (size_t)k * PANEL + v * WIDE);
            KEEP(right[v]);
        }
        for (int r = 0; r < ROWS; r++) {
            float left = x[(size_t)k * PANEL + r];
            for (int v = 0; v < SPAN; v++) sum[r][v] += kept_bits(left * right[v] * scale[r][v], mode);
        }
    }
}

/* Largest exponent sum of ROWS rows by PANEL columns, as bytes relative to both sides' largest. */
static inline void largest(const int8_t *x, const int8_t *w, int lanes, vb *found) {
    for (int r = 0; r < ROWS; r++) found[r] = (vb){} - (int8_t)127;
    for (int k = 0; k < lanes; k++) {
        vb right = *(const vb *)(w + (size_t)k * PANEL);
        KEEP(right);
        for (int r = 0; r < ROWS; r++) {
            int32_t four = ((const int32_t *)x)[(size_t)k * PANEL + r];
            vb total = (vb)(vi{} + four) + right;
            found[r] = found[r] > total ? found[r] : total;
        }
    }
}

typedef struct {
    const Operand *x, *w;
    const Rules *rules;
    Panel a, b;
    int64_t m0, n0, k0, depth;
    float *out;
    int64_t out_row;
} Tile;

static inline int all_set(vb mask) {
    vl words = (vl)mask;
    int64_t all = -1;
    for (int i = 0; i < 8; i++) all &= words[i];
    return all == -1;
}

/* The addition output by output: edges, rounded types, and tiles out of the vectors' reach. */
static void add_singly(const Tile *t, int row, int at, int64_t count, vi sum, vi delta, float *out) {
    const Rules *rules = t->rules;
    for (int i = 0; i < WIDE && i < count; i++) {
        int empty = t->a.empty[row] | t->b.empty[at + i];
        int weight = (t->a.top[row] >> 23) + (t->b.top[at + i] >> 23) + delta[i] - 268 - rules->guard;
        int good = delta[i] > DEEP && weight >= -126 && weight <= 127;
        double one = empty ? 0.0
                     : good ? round_tile((double)sum[i], weight, rules)
                            : exact_tile(t->x, t->m0 + row, t->w, t->n0 + at + i, t->k0, t->depth, rules);
        out[i] = (float)add_rounded(out[i], one, rules->sum_bf16);
    }
}

/* Sixteen bytes of a vector as integers, without a way through memory, where narrow loads would wait for the store. */
template <int quarter> static inline vi widened(vb bytes) {
    constexpr int i = quarter * WIDE;
    vq part = __builtin_shufflevector(bytes, bytes, i, i + 1, i + 2, i + 3, i + 4, i + 5, i + 6, i + 7, i + 8, i + 9,
                                      i + 10, i + 11, i + 12, i + 13, i + 14, i + 15);
    return __builtin_convertvector(part, vi);
}

/* ROWS rows from `first` on, by SPAN vectors of columns; top: largest exponent sums of the rows by the panel, from
   DEEP to 0, so that every scale, and every weight of a plain tile, is the field of a normal float. */
template <int mode, int quarter>
static inline __attribute__((always_inline)) void block(const Tile *t, int first, int count, int plain, const vb *top) {
    const int fraction = 14 + t->rules->guard;
    int64_t rows = t->x->rows - t->m0 - first, columns = t->w->rows - t->n0;
    vi delta[ROWS][SPAN], sum[ROWS][SPAN];
    vf scale[ROWS][SPAN];
    for (int r = 0; r < ROWS; r++) {
        delta[r][0] = widened<quarter>(top[r]) << 23;
        delta[r][1] = widened<quarter + 1>(top[r]) << 23;
        for (int v = 0; v < SPAN; v++) scale[r][v] = (vf)(((127 + fraction) << 23) - delta[r][v]);
    }
    sum_lanes(t->a.value + first, t->b.value + quarter * WIDE, count, mode, scale, sum);
    for (int r = 0; r < ROWS && r < rows; r++)
        for (int v = 0; v < SPAN; v++) {
            int column = (quarter + v) * WIDE, row = first + r;
            float *out = t->out + (t->m0 + row) * t->out_row + t->n0 + column;
            vi weight = *(const vi *)(t->b.top + column) + (t->a.top[row] - ((127 + fraction) << 23)) + delta[r][v];
            vf value = __builtin_convertvector(sum[r][v], vf) * (vf)weight;
            if (plain && columns - column >= WIDE) *(vf *)out += value;
            else if (plain)
                for (int i = 0; i < columns - column; i++) out[i] += value[i];
            else add_singly(t, row, column, columns - column, sum[r][v], delta[r][v] >> 23, out);
        }
}

/* ROWS rows from `first` on, by a whole panel of columns. */
template <int mode> static void tile_rows(const Tile *t, int first, int plain) {
    const int count = t->depth - t->k0 < t->rules->lanes ? (int)(t->depth - t->k0) : t->rules->lanes;
    vb top[ROWS], good = vb{} - (int8_t)1;
    largest(t->a.exponent + (size_t)first * 4, t->b.exponent, count, top);
    for (int r = 0; r < ROWS; r++) {
        good &= (vb)(top[r] > DEEP) | *(const vb *)t->b.empty | t->a.empty[first + r];
        top[r] = top[r] > DEEP ? top[r] : (vb){} + DEEP;
    }
    plain = plain && all_set(good); /* rows and columns beyond the operands are empty */
    block<mode, 0>(t, first, count, plain, top);
    if (t->w->rows - t->n0 > SPAN * WIDE) block<mode, SPAN>(t, first, count, plain, top);
}

static void tile_pair(const Tile *t) {
    const Rules *rules = t->rules;
    int64_t rows = t->x->rows - t->m0 < PANEL ? t->x->rows - t->m0 : PANEL;
    int low = t->a.range[0] + t->b.range[0] - 268 - rules->guard, high = t->a.range[1] + t->b.range[1] - 268 - rules->guard;
    int plain = !rules->tile_bf16 && !rules->sum_bf16 && low + DEEP >= -126 && high <= 127;
    for (int first = 0; first < rows; first += ROWS) {
        if (rules->mode == MAGNITUDE) tile_rows<MAGNITUDE>(t, first, plain);
        else if (rules->mode == FLOORED) tile_rows<FLOORED>(t, first, plain);
        else tile_rows<STICKY>(t, first, plain);
    }
}

#define HEADER (PANEL * 5 + 64) /* of a panel: top, empty, range */

static Panel panel_at(char *base, int64_t index, int lanes, int spread) {
    size_t values = sizeof(float) * PANEL * (size_t)lanes, bytes = PANEL * (size_t)lanes * (spread ? 4 : 1);
    char *start = base + (size_t)index * (values + bytes + HEADER);
    int32_t *top = (int32_t *)(start + values + bytes);
    int8_t *empty = (int8_t *)(top + PANEL);
    return Panel{(float *)start, (int8_t *)(start + values), top, empty, (int32_t *)(empty + PANEL)};
}

static size_t panel_bytes(int lanes, int spread) {
    return (sizeof(float) + (spread ? 4 : 1)) * PANEL * (size_t)lanes + HEADER;
}

/* FP32 rows to BF16 values, in place: nearest even, flush below 2^-126, canonical NaN. */
static void round_rows(float *rows, int64_t count, int64_t length, int64_t step, int saturate) {
    for (int64_t r = 0; r < count; r++) {
        uint32_t *values = (uint32_t *)(rows + r * step);
        for (int64_t i = 0; i < length; i++) values[i] = (uint32_t)bf16_of(values[i], saturate) << 16;
    }
}

/* out (m, n) += x (m, k) . w (n, k), tile by tile; out starts as the caller left it. rounded: 0 leaves FP32, 1 rounds
   to BF16 values, 2 saturates besides. special_x, special_w: a byte a
   row, rounded up to whole panels, set where an operand is NaN or infinite (those outputs are not meaningful).
   Returns 0, or 1 where memory ran out. */
extern "C" int himc_fused(const uint16_t *x, int64_t x_row, int64_t x_k, const uint16_t *w, int64_t w_row, int64_t w_k, int64_t m,
               int64_t n, int64_t depth, int lanes, int guard, int mode, int tile_bf16, int sum_bf16, int rounded, float *out,
               int64_t out_row, uint8_t *special_x, uint8_t *special_w) {
    Operand left = {x, x_row, x_k, m}, right = {w, w_row, w_k, n};
    Rules rules = {lanes, guard, mode, tile_bf16, sum_bf16};
    int64_t tiles = (DEPTH + lanes - 1) / lanes, panels = (n + PANEL - 1) / PANEL;
    char *a = (char *)aligned_alloc(64, (panel_bytes(lanes, 1) * (size_t)tiles + 63) / 64 * 64);
    char *b = (char *)aligned_alloc(64, (panel_bytes(lanes, 0) * (size_t)(tiles * panels) + 63) / 64 * 64);
    uint16_t(*codes)[PANEL] = (uint16_t(*)[PANEL])malloc(sizeof(uint16_t) * PANEL * (size_t)lanes);
    int bad = !a || !b || !codes;
    for (int64_t start = 0; !bad && start < depth; start += tiles * lanes) {
        int64_t here = (depth - start + lanes - 1) / lanes;
        here = here < tiles ? here : tiles;
        for (int64_t p = 0; p < panels; p++)
            for (int64_t t = 0; t < here; t++)
                pack(&right, p * PANEL, start + t * lanes, depth, lanes, 0, panel_at(b, p * tiles + t, lanes, 0),
                     special_w, codes);
        for (int64_t m0 = 0; m0 < m; m0 += PANEL) {
            for (int64_t t = 0; t < here; t++)
                pack(&left, m0, start + t * lanes, depth, lanes, 1, panel_at(a, t, lanes, 1), special_x, codes);
            for (int64_t p = 0; p < panels; p++)
                for (int64_t t = 0; t < here; t++) {
                    Tile tile = {&left, &right, &rules, panel_at(a, t, lanes, 1), panel_at(b, p * tiles + t, lanes, 0),
                                 m0, p * PANEL, start + t * lanes, depth, out, out_row};
                    tile_pair(&tile);
                }
            if (rounded && start + tiles * lanes >= depth)
                round_rows(out + m0 * out_row, m - m0 < PANEL ? m - m0 : PANEL, n, out_row, rounded == 2);
        }
    }
    free(a), free(b), free(codes);
    return bad;
}

/* -- lane accumulation ------------------------------------------------------------------------------- */

#define LANE_ROWS 6
#define LANE_SPAN 4

static void unpack(const Operand *o, int64_t row0, int64_t k0, int64_t count, int64_t width, float *to,
                   uint8_t *special) {
    for (int64_t k = 0; k < count; k++)
        for (int64_t r = 0; r < width; r++) {
            uint16_t code = row0 + r < o->rows ? o->codes[(row0 + r) * o->row + (k0 + k) * o->k] : 0;
            uint32_t bits = code & 0x7F80 ? (uint32_t)code << 16 : 0;
            if ((code & 0x7F80) == 0x7F80) special[row0 + r] = 1;
            memcpy(to + k * width + r, &bits, 4);
        }
}

/* out (m, n) += x (m, k) . w (n, k): exact products added one by one in ascending k, FP32, nearest even.
   rounded: as in himc_fused. */
extern "C" int himc_lanes(const uint16_t *x, int64_t x_row, int64_t x_k, const uint16_t *w, int64_t w_row, int64_t w_k, int64_t m,
               int64_t n, int64_t depth, int rounded, float *out, int64_t out_row, uint8_t *special_x,
               uint8_t *special_w) {
    Operand left = {x, x_row, x_k, m}, right = {w, w_row, w_k, n};
    enum { width = LANE_SPAN * WIDE };
    int64_t panels = (n + width - 1) / width;
    float *b = (float *)aligned_alloc(64, sizeof(float) * (size_t)(panels * width * DEPTH));
    float *a = (float *)aligned_alloc(64, (sizeof(float) * LANE_ROWS * DEPTH + 63) / 64 * 64);
    int bad = !a || !b;
    for (int64_t start = 0; !bad && start < depth; start += DEPTH) {
        int64_t count = depth - start < DEPTH ? depth - start : DEPTH;
        for (int64_t p = 0; p < panels; p++)
            unpack(&right, p * width, start, count, width, b + p * width * DEPTH, special_w);
        for (int64_t m0 = 0; m0 < m; m0 += LANE_ROWS) {
            unpack(&left, m0, start, count, LANE_ROWS, a, special_x);
            int64_t rows = m - m0 < LANE_ROWS ? m - m0 : LANE_ROWS;
            for (int64_t p = 0; p < panels; p++) {
                float edge[LANE_ROWS][width];
                memset(edge, 0, sizeof edge);
                int64_t columns = n - p * width < (int64_t)width ? n - p * width : (int64_t)width;
                for (int r = 0; r < rows; r++)
                    memcpy(edge[r], out + (m0 + r) * out_row + p * width, sizeof(float) * (size_t)columns);
                vf total[LANE_ROWS][LANE_SPAN];
                for (int r = 0; r < LANE_ROWS; r++)
                    for (int v = 0; v < LANE_SPAN; v++) total[r][v] = *(const vf *)(edge[r] + v * WIDE);
                const float *from = b + p * width * DEPTH;
                for (int64_t k = 0; k < count; k++) {
                    vf right_now[LANE_SPAN];
                    for (int v = 0; v < LANE_SPAN; v++) right_now[v] = *(const vf *)(from + k * width + v * WIDE);
                    for (int r = 0; r < LANE_ROWS; r++)
                        for (int v = 0; v < LANE_SPAN; v++) total[r][v] = add_product(a[k * LANE_ROWS + r], right_now[v], total[r][v]);
                }
                for (int r = 0; r < LANE_ROWS; r++)
                    for (int v = 0; v < LANE_SPAN; v++) *(vf *)(edge[r] + v * WIDE) = total[r][v];
                if (rounded && start + count >= depth) round_rows(edge[0], rows, columns, width, rounded == 2);
                for (int r = 0; r < rows; r++)
                    memcpy(out + (m0 + r) * out_row + p * width, edge[r], sizeof(float) * (size_t)columns);
            }
        }
    }
    free(a), free(b);
    return bad;
}

/* -- element by element ------------------------------------------------------------------------------ */

/* FP32 to BF16 codes: nearest even, flush below 2^-126, canonical NaN. */
extern "C" void himc_codes(const uint32_t *from, uint16_t *to, int64_t count, int saturate) {
    for (int64_t i = 0; i < count; i++) to[i] = bf16_of(from[i], saturate);
}

/* FP32 to BF16 values, in place. */
extern "C" void himc_round(uint32_t *values, int64_t count, int saturate) {
    round_rows((float *)values, 1, count, count, saturate);
}

/* Smallest exponent field of the codes that are not zero; 255 where all are. */
extern "C" int himc_smallest(const uint16_t *codes, int64_t count) {
    uint16_t least = 255;
    for (int64_t i = 0; i < count; i++) {
        uint16_t field = (codes[i] >> 7) & 0xFF;
        field = field ? field : 255;
        least = field < least ? field : least;
    }
    return least;
}
