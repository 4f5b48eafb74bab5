/* Depthwise convolutions, channels last, sixteen channels a vector: the same bits as the matrix kernels give on
   unfolded patches. Operands are FP32 values that are BF16 already, subnormals zeroed; the caller has seen to it that
   every product and every sum's lowest weight is a normal FP32 number and none is special, so that the largest
   exponent sum of a group of products is the largest product of their powers of two. */

#include "native.h"

#define TAPS 64 /* most taps of a kernel */

typedef struct {
    int64_t images, height, width, channels; /* of the padded input; channels in whole vectors */
    int64_t out_height, out_width, rows, columns, stride_y, stride_x, dilation_y, dilation_x;
} Shape;

static inline vf exponent_of(vf value) { return (vf)((vi)value & 0x7F800000); }

static inline int64_t tap_offset(const Shape *s, int64_t tap) {
    return ((tap / s->columns) * s->dilation_y * s->width + (tap % s->columns) * s->dilation_x) * s->channels;
}

static inline vf rounded(vf value, int saturate) {
    vi bits = (vi)value;
    vi code = (bits + 0x7FFF + ((bits >> 16) & 1)) & (int32_t)0xFFFF0000;
    vi field = code & 0x7F800000;
    code = (vi)(field == 0) ? (code & (int32_t)0x80000000) : code;
    if (saturate) code = (vi)(field == 0x7F800000) ? ((code & (int32_t)0x80000000) | 0x7F7F0000) : code;
    return (vf)code;
}

/* One row of pixels rounded, subnormals to zero; least, most: exponent fields so far, at their place in a float. */
static inline void frame_row(const float *from, int64_t width, int64_t channels, int64_t wide, float *to, vi *least,
                             vi *most) {
    for (int64_t x = 0; x < width; x++, from += channels, to += wide)
        for (int64_t c = 0; c < channels; c += WIDE) {
            vf value = vf{};
            if (channels - c >= WIDE) value = *(const vf *)(from + c);
            else memcpy(&value, from + c, sizeof(float) * (size_t)(channels - c));
            vi bits = (vi)rounded(value, 0), field = bits & 0x7F800000, before = (vi)value & 0x7F800000;
            vi low = (vi)(field == 0) ? vi{} + 255 * (1 << 23) : field;
            *least = low < *least ? low : *least;
            *most = field > *most ? field : *most;
            *most = before > *most ? before : *most; /* a NaN, whatever rounding made of it */
            *(vi *)(to + c) = (vi)(field == 0) ? vi{} : bits;
        }
}

/* Rounds FP32 (height, width, channels) to BF16 values, subnormals to zero, into a frame of `top` rows and `left`
   pixels of zeros, whose channels are whole vectors; range[0], range[1]: smallest and largest exponent field that is
   not zero. */
extern "C" void himc_frame(const float *from, int64_t height, int64_t width, int64_t channels, int64_t top, int64_t left,
                           float *to, int32_t *range) {
    int64_t wide = (channels + WIDE - 1) / WIDE * WIDE, side = left * wide, row = width * wide + 2 * side;
    vi least = vi{} + 255 * (1 << 23), most = vi{};
    memset(to, 0, sizeof(float) * (size_t)(top * row));
    memset(to + (top + height) * row, 0, sizeof(float) * (size_t)(top * row));
    for (int64_t y = 0; y < height; y++) {
        float *at = to + (top + y) * row;
        memset(at, 0, sizeof(float) * (size_t)side);
        memset(at + row - side, 0, sizeof(float) * (size_t)side);
        frame_row(from + y * width * channels, width, channels, wide, at + side, &least, &most);
    }
    for (int i = 0; i < WIDE; i++) {
        range[0] = least[i] >> 23 < range[0] ? least[i] >> 23 : range[0];
        range[1] = most[i] >> 23 > range[1] ? most[i] >> 23 : range[1];
    }
}

static inline void store(float *out, vf value, int64_t left) {
    if (left >= WIDE) *(vf *)out = value;
    else memcpy(out, &value, sizeof(float) * (size_t)left);
}

/* One fused sum of `count` products found at x + offset[i] and w + i * w_step: its FP32 value, sixteen at a time.
   fixed: the count, where it is known when this is compiled, else 0. */
template <int mode, int fixed>
static inline __attribute__((always_inline)) vf fused_sum(const float *x, const int64_t *offset, const float *w,
                                                          int64_t w_step, int64_t asked, int fraction) {
    const int64_t count = fixed ? fixed : asked;
    vf top = vf{};
#pragma GCC unroll 9
    for (int64_t i = 0; i < count; i++) {
        vf both = exponent_of(*(const vf *)(x + offset[i])) * exponent_of(*(const vf *)(w + i * w_step));
        top = top > both ? top : both;
    }
    vi exponent = ((vi)top >> 23) - 127;
    exponent = (vi)(top == 0) ? 0 : exponent;
    vf scale = power_of_two(fraction - exponent);
    vi sum = vi{};
#pragma GCC unroll 9
    for (int64_t i = 0; i < count; i++)
        sum += kept_bits(*(const vf *)(x + offset[i]) * *(const vf *)(w + i * w_step) * scale, mode);
    return __builtin_convertvector(sum, vf) * power_of_two(exponent - fraction);
}

template <int mode, int fixed> static void forward(const float *x, const float *w, const Shape *s, int fraction,
                                                   int64_t kept, int saturate, float *out) {
    int64_t offset[TAPS], taps = s->rows * s->columns;
    for (int64_t t = 0; t < taps; t++) offset[t] = tap_offset(s, t);
    for (int64_t n = 0; n < s->images; n++)
        for (int64_t y = 0; y < s->out_height; y++)
            for (int64_t q = 0; q < s->out_width; q++) {
                const float *at = x + ((n * s->height + y * s->stride_y) * s->width + q * s->stride_x) * s->channels;
                float *to = out + ((n * s->out_height + y) * s->out_width + q) * kept;
                for (int64_t c = 0; c < kept; c += WIDE) {
                    vf value = fused_sum<mode, fixed>(at + c, offset, w + c, s->channels, taps, fraction);
                    store(to + c, rounded(value, saturate), kept - c);
                }
            }
}

/* x framed, w (taps, channels) -> out (images, out_height, out_width, kept): sums of one tile each, as BF16 values. */
extern "C" int himc_depthwise(const float *x, const float *w, const int64_t *shape, int guard, int mode, int64_t kept,
                              int saturate, float *out) {
    const Shape *s = (const Shape *)shape;
    int nine = s->rows * s->columns == 9;
    auto run = mode == MAGNITUDE ? (nine ? forward<MAGNITUDE, 9> : forward<MAGNITUDE, 0>)
               : mode == FLOORED ? (nine ? forward<FLOORED, 9> : forward<FLOORED, 0>)
                                 : (nine ? forward<STICKY, 9> : forward<STICKY, 0>);
    run(x, w, s, 14 + guard, kept, saturate, out);
    return 0;
}

/* Images whose output positions fill whole tiles. */
static int64_t whole_tiles(int64_t positions, int64_t lanes) {
    int64_t a = positions, b = lanes;
    while (b) {
        int64_t rest = a % b;
        a = b, b = rest;
    }
    return lanes / a;
}

/* One vector of channels out of `count` pixels, side by side: pixels of a vector each lie a row of channels apart, and
   where that is a power of two they would push each other out of the cache. */
static void side_by_side(const float *from, int64_t channels, int64_t count, float *to) {
    for (int64_t i = 0; i < count; i++) *(vf *)(to + i * WIDE) = *(const vf *)(from + i * channels);
}

template <int mode> static void add_tiles(const float *x, const float *delta, const int64_t *offset, const int64_t *tap,
                                          int64_t taps, int64_t positions, int lanes, int fraction, vf *total) {
    for (int64_t start = 0; start < positions; start += lanes) {
        int64_t count = positions - start < lanes ? positions - start : lanes;
        for (int64_t t = 0; t < taps; t++)
            total[t] += fused_sum<mode, 0>(x + tap[t], offset + start, delta + start * WIDE, WIDE, count, fraction);
    }
}

/* x framed, delta (images x out positions, channels) -> out (taps, channels), for the vectors `first` to `last`; tiles
   of `lanes` positions accumulate in FP32, in ascending position. */
extern "C" int himc_depthwise_weights(const float *x, const float *delta, const int64_t *shape, int lanes, int guard,
                                      int mode, int64_t first, int64_t last, float *out) {
    const Shape *s = (const Shape *)shape;
    int64_t taps = s->rows * s->columns, pixels = s->height * s->width, positions = s->out_height * s->out_width;
    int64_t group = whole_tiles(positions, lanes), tap[TAPS];
    if (group > s->images) group = s->images;
    for (int64_t t = 0; t < taps; t++)
        tap[t] = ((t / s->columns) * s->dilation_y * s->width + (t % s->columns) * s->dilation_x) * WIDE;
    int64_t *offset = (int64_t *)malloc(sizeof(int64_t) * (size_t)(group * positions)), *next = offset;
    float *plane = (float *)aligned_alloc(64, sizeof(vf) * (size_t)(group * pixels));
    float *gradient = (float *)aligned_alloc(64, sizeof(vf) * (size_t)(group * positions));
    int bad = !offset || !plane || !gradient;
    for (int64_t n = 0; !bad && n < group; n++)
        for (int64_t y = 0; y < s->out_height; y++)
            for (int64_t q = 0; q < s->out_width; q++)
                *next++ = (n * pixels + y * s->stride_y * s->width + q * s->stride_x) * WIDE;
    auto add = mode == MAGNITUDE ? add_tiles<MAGNITUDE> : mode == FLOORED ? add_tiles<FLOORED> : add_tiles<STICKY>;
    for (int64_t c = first * WIDE; !bad && c < last * WIDE; c += WIDE) {
        vf total[TAPS] = {};
        for (int64_t n = 0; n < s->images; n += group) {
            int64_t images = s->images - n < group ? s->images - n : group;
            side_by_side(x + n * pixels * s->channels + c, s->channels, images * pixels, plane);
            side_by_side(delta + n * positions * s->channels + c, s->channels, images * positions, gradient);
            add(plane, gradient, offset, tap, taps, images * positions, lanes, 14 + guard, total);
        }
        for (int64_t t = 0; t < taps; t++) memcpy(out + t * s->channels + c, &total[t], sizeof(vf));
    }
    free(offset), free(plane), free(gradient);
    return bad;
}

/* A product of operands in range rounds to a normal BF16 value: neither flushed nor infinite. */
static inline vf rounded_product(vf value) {
    vi bits = (vi)value;
    return (vf)((bits + 0x7FFF + ((bits >> 16) & 1)) & (int32_t)0xFFFF0000);
}

/* `count` products rounded to BF16 and added in FP32, in the order given, to all channels of one pixel. */
template <int fixed> static void add_products(const float *delta, const int64_t *from, const float *w, const int64_t *tap,
                                              int64_t asked, int64_t kept, float *out) {
    const int64_t count = fixed ? fixed : asked;
    for (int64_t c = 0; c < kept; c += WIDE) {
        vf sum = vf{};
#pragma GCC unroll 9
        for (int64_t i = 0; i < count; i++)
            sum += rounded_product(*(const vf *)(delta + from[i] + c) * *(const vf *)(w + tap[i] + c));
        store(out + c, sum, kept - c);
    }
}

/* delta (images, out_height, out_width, channels), w (taps, channels) -> out (images, height - 2 top, width - 2 left,
   kept), the input gradient without the frame: each pixel takes, in ascending tap, the outputs that it fed. */
extern "C" int himc_depthwise_inputs(const float *delta, const float *w, const int64_t *shape, int64_t top, int64_t left,
                                      int64_t kept, float *out) {
    const Shape *s = (const Shape *)shape;
    int64_t from[TAPS], tap[TAPS];
    for (int64_t n = 0; n < s->images; n++)
        for (int64_t y = top; y < s->height - top; y++)
            for (int64_t x = left; x < s->width - left; x++, out += kept) {
                int64_t count = 0;
                for (int64_t i = 0; i < s->rows; i++) {
                    int64_t row = y - i * s->dilation_y;
                    if (row < 0 || row % s->stride_y || row / s->stride_y >= s->out_height) continue;
                    for (int64_t j = 0; j < s->columns; j++) {
                        int64_t column = x - j * s->dilation_x;
                        if (column < 0 || column % s->stride_x || column / s->stride_x >= s->out_width) continue;
                        int64_t at = (n * s->out_height + row / s->stride_y) * s->out_width + column / s->stride_x;
                        from[count] = at * s->channels, tap[count++] = (i * s->columns + j) * s->channels;
                    }
                }
                if (count == 9) add_products<9>(delta, from, w, tap, count, kept, out);
                else add_products<0>(delta, from, w, tap, count, kept, out);
            }
    return 0;
}
