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

/* Rounds FP32 (height, width, channels) to BF16 values, subnormals to zero, into a zeroed frame of padding whose
   channels are whole vectors; range[0], range[1]: smallest and largest exponent field that is not zero. */
extern "C" void himc_frame(const float *from, int64_t height, int64_t width, int64_t channels, int64_t top, int64_t left,
                           int64_t framed_width, float *to, int32_t *range) {
    int64_t wide = (channels + WIDE - 1) / WIDE * WIDE;
    vi least = vi{} + 255 * (1 << 23), most = vi{};
    for (int64_t y = 0; y < height; y++)
        for (int64_t x = 0; x < width; x++) {
            const float *source = from + (y * width + x) * channels;
            float *target = to + ((y + top) * framed_width + x + left) * wide;
            for (int64_t c = 0; c < channels; c += WIDE) {
                vf value = vf{};
                if (channels - c >= WIDE) value = *(const vf *)(source + c);
                else memcpy(&value, source + c, sizeof(float) * (size_t)(channels - c));
                vi bits = (vi)rounded(value, 0), field = bits & 0x7F800000, before = (vi)value & 0x7F800000;
                vi low = (vi)(field == 0) ? vi{} + 255 * (1 << 23) : field;
                least = low < least ? low : least;
                most = field > most ? field : most;
                most = before > most ? before : most; /* a NaN, whatever rounding made of it */
                *(vi *)(target + c) = (vi)(field == 0) ? vi{} : bits;
            }
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

/* One fused sum of `count` products found at x + offset[i] and w + i * w_step: its FP32 value, sixteen at a time. */
static inline __attribute__((always_inline)) vf fused_sum(const float *x, const int64_t *offset, const float *w,
                                                          int64_t w_step, int64_t count, int fraction, const int mode) {
    vf top = vf{};
    for (int64_t i = 0; i < count; i++) {
        vf both = exponent_of(*(const vf *)(x + offset[i])) * exponent_of(*(const vf *)(w + i * w_step));
        top = top > both ? top : both;
    }
    vi exponent = ((vi)top >> 23) - 127;
    exponent = (vi)(top == 0) ? 0 : exponent;
    vf scale = power_of_two(fraction - exponent);
    vi sum = vi{};
    for (int64_t i = 0; i < count; i++)
        sum += kept_bits(*(const vf *)(x + offset[i]) * *(const vf *)(w + i * w_step) * scale, mode);
    return __builtin_convertvector(sum, vf) * power_of_two(exponent - fraction);
}

template <int mode> static void forward(const float *x, const float *w, const Shape *s, int fraction, int64_t kept,
                                        float *out) {
    int64_t offset[TAPS], taps = s->rows * s->columns;
    for (int64_t t = 0; t < taps; t++) offset[t] = tap_offset(s, t);
    for (int64_t n = 0; n < s->images; n++)
        for (int64_t y = 0; y < s->out_height; y++)
            for (int64_t c = 0; c < kept; c += WIDE)
                for (int64_t q = 0; q < s->out_width; q++) {
                    const float *at = x + ((n * s->height + y * s->stride_y) * s->width + q * s->stride_x) * s->channels + c;
                    vf value = fused_sum(at, offset, w + c, s->channels, taps, fraction, mode);
                    store(out + ((n * s->out_height + y) * s->out_width + q) * kept + c, value, kept - c);
                }
}

/* x framed, w (taps, channels) -> out (images, out_height, out_width, channels), FP32 sums of one tile each. */
extern "C" int himc_depthwise(const float *x, const float *w, const int64_t *shape, int guard, int mode,
                               int64_t kept, float *out) {
    const Shape *s = (const Shape *)shape;
    if (mode == MAGNITUDE) forward<MAGNITUDE>(x, w, s, 14 + guard, kept, out);
    else if (mode == FLOORED) forward<FLOORED>(x, w, s, 14 + guard, kept, out);
    else forward<STICKY>(x, w, s, 14 + guard, kept, out);
    return 0;
}

template <int mode> static void weight_gradient(const float *x, const float *delta, const Shape *s, int lanes,
                                                int fraction, const int64_t *offset, int64_t c, float *out) {
    int64_t taps = s->rows * s->columns, positions = s->images * s->out_height * s->out_width;
    vf total[TAPS] = {};
    for (int64_t start = 0; start < positions; start += lanes) {
        int64_t count = positions - start < lanes ? positions - start : lanes;
        for (int64_t t = 0; t < taps; t++)
            total[t] += fused_sum(x + tap_offset(s, t) + c, offset + start, delta + start * s->channels + c, s->channels,
                                  count, fraction, mode);
    }
    for (int64_t t = 0; t < taps; t++) memcpy(out + t * s->channels + c, &total[t], sizeof(vf));
}

/* x framed, delta (images x out positions, channels) -> out (taps, channels), for the vectors `first` to `last`; tiles
   of `lanes` positions accumulate in FP32, in ascending position. */
extern "C" int himc_depthwise_weights(const float *x, const float *delta, const int64_t *shape, int lanes, int guard,
                                      int mode, int64_t first, int64_t last, float *out) {
    const Shape *s = (const Shape *)shape;
    int64_t positions = s->images * s->out_height * s->out_width;
    int64_t *offset = (int64_t *)malloc(sizeof(int64_t) * (size_t)positions), *next = offset;
    if (!offset) return 1;
    for (int64_t n = 0; n < s->images; n++)
        for (int64_t y = 0; y < s->out_height; y++)
            for (int64_t q = 0; q < s->out_width; q++)
                *next++ = ((n * s->height + y * s->stride_y) * s->width + q * s->stride_x) * s->channels;
    for (int64_t c = first * WIDE; c < last * WIDE; c += WIDE) {
        if (mode == MAGNITUDE) weight_gradient<MAGNITUDE>(x, delta, s, lanes, 14 + guard, offset, c, out);
        else if (mode == FLOORED) weight_gradient<FLOORED>(x, delta, s, lanes, 14 + guard, offset, c, out);
        else weight_gradient<STICKY>(x, delta, s, lanes, 14 + guard, offset, c, out);
    }
    free(offset);
    return 0;
}

/* A product of operands in range rounds to a normal BF16 value: neither flushed nor infinite. */
static inline vf rounded_product(vf value) {
    vi bits = (vi)value;
    return (vf)((bits + 0x7FFF + ((bits >> 16) & 1)) & (int32_t)0xFFFF0000);
}

/* delta (images, out_height, out_width, channels), w (taps, channels) -> framed input gradient, zeroed by the caller:
   from each tap one product rounded to BF16, added in FP32 in ascending tap, which is why rows go backwards. */
extern "C" int himc_depthwise_inputs(const float *delta, const float *w, const int64_t *shape, float *out) {
    const Shape *s = (const Shape *)shape;
    int64_t taps = s->rows * s->columns, step = s->stride_x * s->channels;
    for (int64_t n = 0; n < s->images; n++)
        for (int64_t y = s->out_height - 1; y >= 0; y--)
            for (int64_t t = 0; t < taps; t++)
                for (int64_t c = 0; c < s->channels; c += WIDE) {
                    const float *from = delta + (n * s->out_height + y) * s->out_width * s->channels + c;
                    float *to = out + (n * s->height + y * s->stride_y) * s->width * s->channels + tap_offset(s, t) + c;
                    vf word = *(const vf *)(w + t * s->channels + c);
                    for (int64_t q = 0; q < s->out_width; q++)
                        *(vf *)(to + q * step) += rounded_product(*(const vf *)(from + q * s->channels) * word);
                }
    return 0;
}
