/* Fused passes over NHWC images for a supernet's training step on CPUs.
 *
 * PyTorch's depthwise convolutions are slow on CPUs, their backward most of all, and a supernet is
 * made of them. Here ReLU, depthwise and pointwise convolution are one pass over an image that
 * stays in the core's cache, and the backward recomputes what the forward did not keep.
 *
 * Compiled once per number type, -DREAL=float -DINTEGER=int32_t, or double and int64_t, and once per
 * size of vectors, -DVECTOR=64 bytes, or 32 for few channels: a vector holds channels of one pixel.
 * Every function is deterministic for a given number of threads. Vectors are GCC's and clang's,
 * whatever the processor.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#else
static int omp_get_thread_num(void) { return 0; }
#endif

#ifndef REAL
#define REAL float
#define INTEGER int32_t /* as wide as REAL */
#endif
#ifndef VECTOR
#define VECTOR 64
#endif
typedef REAL real;
typedef real vec __attribute__((vector_size(VECTOR)));
enum { LANES = VECTOR / sizeof(real) };
#define INLINE static inline __attribute__((always_inline))

typedef struct {
    int64_t images, height, width, in_channels, out_channels;
    int64_t kernel, stride, dilation; /* padding keeps the size at stride 1 */
    int64_t groups;                   /* convolutions done at once */
    int64_t shared;                   /* 1: all groups read the same input */
    int64_t threads;
} Shape;

/* What follows from a Shape: padded sizes, and channels in whole vectors. */
typedef struct {
    int64_t pad, rows, cols;         /* the padded input */
    int64_t out_height, out_width;   /* the output */
    int64_t pixels, out_pixels;      /* without padding */
    int64_t taps, in_vecs, out_vecs;
} Plan;

static Plan make_plan(const Shape *s) {
    Plan p;
    p.pad = s->dilation * (s->kernel - 1) / 2;
    p.rows = s->height + 2 * p.pad;
    p.cols = s->width + 2 * p.pad;
    p.out_height = (s->height - 1) / s->stride + 1;
    p.out_width = (s->width - 1) / s->stride + 1;
    p.pixels = s->height * s->width;
    p.out_pixels = p.out_height * p.out_width;
    p.taps = s->kernel * s->kernel;
    p.in_vecs = (s->in_channels + LANES - 1) / LANES;
    p.out_vecs = (s->out_channels + LANES - 1) / LANES;
    return p;
}

static void *allocate(size_t bytes) {
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64 + 64);
    if (memory) memset(memory, 0, bytes);
    return memory;
}

/* ---- one image: the inner loops ---------------------------------------------------------- */

/* PIXELS neighbouring outputs of one row, one vector of channels, all taps in registers. */
INLINE void depthwise_block(const vec *in, int64_t step, int64_t col_step, int64_t row_step,
                            const vec *w, int64_t vecs, int kernel, int pixels, int add,
                            vec *out) {
    vec sum[8];
    for (int p = 0; p < pixels; p++) sum[p] = add ? out[p * vecs] : (vec){0};
    for (int ky = 0; ky < kernel; ky++)
        for (int kx = 0; kx < kernel; kx++) {
            const vec weight = w[(ky * kernel + kx) * vecs];
            const vec *at = in + ky * row_step + kx * col_step;
#pragma GCC unroll 8
            for (int p = 0; p < pixels; p++) sum[p] += at[p * step] * weight;
        }
    for (int p = 0; p < pixels; p++) out[p * vecs] = sum[p];
}

INLINE void depthwise_rows(const vec *in, int64_t cols, int64_t height, int64_t width,
                           int64_t stride, int64_t dilation, const vec *w, int64_t vecs,
                           int kernel, int add, vec *out) {
    const int64_t step = stride * vecs, col = dilation * vecs, row = dilation * cols * vecs;
    for (int64_t v = 0; v < vecs; v++)
        for (int64_t y = 0; y < height; y++) {
            const vec *from = in + y * stride * cols * vecs + v;
            vec *to = out + y * width * vecs + v;
            int64_t x = 0;
            for (; x + 8 <= width; x += 8)
                depthwise_block(from + x * step, step, col, row, w + v, vecs, kernel, 8,
                                add, to + x * vecs);
            for (; x + 4 <= width; x += 4)
                depthwise_block(from + x * step, step, col, row, w + v, vecs, kernel, 4,
                                add, to + x * vecs);
            for (; x < width; x++)
                depthwise_block(from + x * step, step, col, row, w + v, vecs, kernel, 1,
                                add, to + x * vecs);
        }
}

/* out[height][width] = sum over taps of w * in, where in has `cols` columns a row; or += if add. */
static void depthwise(const vec *in, int64_t cols, int64_t height, int64_t width, int64_t stride,
                      int64_t dilation, const vec *w, int64_t vecs, int64_t kernel, int add,
                      vec *out) {
    if (kernel == 3)
        depthwise_rows(in, cols, height, width, stride, dilation, w, vecs, 3, add, out);
    else if (kernel == 5)
        depthwise_rows(in, cols, height, width, stride, dilation, w, vecs, 5, add, out);
    else
        depthwise_rows(in, cols, height, width, stride, dilation, w, vecs, (int)kernel, add, out);
}

/* gradient[tap] += sum over pixels of in (shifted by the tap) * grad_out. */
INLINE void depthwise_weight_rows(const vec *in, int64_t cols, int64_t height, int64_t width,
                                  int64_t stride, int64_t dilation, const vec *grad_out,
                                  int64_t vecs, int kernel, vec *gradient) {
    const int64_t col = dilation * vecs, row = dilation * cols * vecs;
    for (int64_t v = 0; v < vecs; v++)
        for (int ky = 0; ky < kernel; ky++) { /* one row of taps in registers */
            vec sum[5][2];
            for (int kx = 0; kx < kernel; kx++) sum[kx][0] = sum[kx][1] = (vec){0};
            for (int64_t y = 0; y < height; y++) {
                const vec *from = in + y * stride * cols * vecs + ky * row + v;
                const vec *g = grad_out + y * width * vecs + v;
                int64_t x = 0;
                for (; x + 2 <= width; x += 2)
#pragma GCC unroll 5
                    for (int kx = 0; kx < kernel; kx++) {
                        sum[kx][0] += from[x * stride * vecs + kx * col] * g[x * vecs];
                        sum[kx][1] += from[(x + 1) * stride * vecs + kx * col] * g[(x + 1) * vecs];
                    }
                for (; x < width; x++)
                    for (int kx = 0; kx < kernel; kx++)
                        sum[kx][0] += from[x * stride * vecs + kx * col] * g[x * vecs];
            }
            for (int kx = 0; kx < kernel; kx++)
                gradient[(ky * kernel + kx) * vecs + v] = sum[kx][0] + sum[kx][1];
        }
}

static void depthwise_weight(const vec *in, int64_t cols, int64_t height, int64_t width,
                             int64_t stride, int64_t dilation, const vec *grad_out, int64_t vecs,
                             int64_t kernel, vec *gradient) {
    if (kernel == 3)
        depthwise_weight_rows(in, cols, height, width, stride, dilation, grad_out, vecs, 3,
                              gradient);
    else
        depthwise_weight_rows(in, cols, height, width, stride, dilation, grad_out, vecs, 5,
                              gradient);
}

INLINE void matmul_block(const real *a, int64_t a_step, int64_t inner, const vec *w,
                         int64_t w_step, int rows, int vecs, vec *out, int64_t out_step) {
    vec sum[8][2];
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vecs; v++) sum[r][v] = (vec){0};
    for (int64_t k = 0; k < inner; k++)
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
            for (int v = 0; v < vecs; v++) sum[r][v] += a[r * a_step + k] * w[k * w_step + v];
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vecs; v++) out[r * out_step + v] = sum[r][v];
}

/* out[pixels][out_vecs] = a[pixels][inner] @ w[inner][out_vecs]; rows of a hold in_vecs vectors. */
static void matmul(const vec *a, int64_t pixels, int64_t in_vecs, int64_t inner, const vec *w,
                   int64_t out_vecs, vec *out) {
    const int64_t step = in_vecs * LANES;
    int64_t p = 0;
    for (; p + 8 <= pixels; p += 8) {
        const real *rows = (const real *)(a + p * in_vecs);
        int64_t v = 0;
        for (; v + 2 <= out_vecs; v += 2)
            matmul_block(rows, step, inner, w + v, out_vecs, 8, 2, out + p * out_vecs + v,
                         out_vecs);
        for (; v < out_vecs; v++)
            matmul_block(rows, step, inner, w + v, out_vecs, 8, 1, out + p * out_vecs + v,
                         out_vecs);
    }
    for (; p < pixels; p++)
        for (int64_t v = 0; v < out_vecs; v++)
            matmul_block((const real *)(a + p * in_vecs), step, inner, w + v, out_vecs, 1, 1,
                         out + p * out_vecs + v, out_vecs);
}

INLINE void outer_block(const real *a, int64_t a_step, const vec *b, int64_t b_step,
                        int64_t pixels, int rows, vec *out, int64_t out_step) {
    vec sum[8];
    for (int r = 0; r < rows; r++) sum[r] = (vec){0};
    for (int64_t p = 0; p < pixels; p++) {
        const vec value = b[p * b_step];
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) sum[r] += a[p * a_step + r] * value;
    }
    for (int r = 0; r < rows; r++) out[r * out_step] = sum[r];
}

/* out[inner][out_vecs] = transpose(a[pixels][inner]) @ b[pixels][out_vecs]. */
static void outer(const vec *a, int64_t in_vecs, int64_t inner, const vec *b, int64_t out_vecs,
                  int64_t pixels, vec *out) {
    const int64_t step = in_vecs * LANES;
    for (int64_t v = 0; v < out_vecs; v++) {
        int64_t k = 0;
        for (; k + 8 <= inner; k += 8)
            outer_block((const real *)a + k, step, b + v, out_vecs, pixels, 8,
                        out + k * out_vecs + v, out_vecs);
        for (; k < inner; k++)
            outer_block((const real *)a + k, step, b + v, out_vecs, pixels, 1,
                        out + k * out_vecs + v, out_vecs);
    }
}

/* ---- between memory and the padded buffers ----------------------------------------------- */

typedef REAL loose __attribute__((vector_size(VECTOR), aligned(sizeof(REAL))));

/* One vector of channels of one pixel; the last vector of a pixel may have fewer lanes in use.
 * Copies of a size that the compiler knows are single instructions, others are calls. */
INLINE vec load_lanes(const real *from, int64_t count) {
    if (count >= LANES) return *(const loose *)from;
    vec value = {0};
    if (count == LANES / 2)
        memcpy(&value, from, sizeof(vec) / 2);
    else
        memcpy(&value, from, count * sizeof(real));
    return value;
}

INLINE void store_lanes(real *to, vec value, int64_t count) {
    if (count >= LANES)
        *(loose *)to = value;
    else if (count == LANES / 2)
        memcpy(to, &value, sizeof(vec) / 2);
    else
        memcpy(to, &value, count * sizeof(real));
}

typedef INTEGER mask __attribute__((vector_size(VECTOR))); /* what comparing vectors gives */

/* max(value, 0), and NaN where it is NaN. */
INLINE vec positive(vec value) {
    return (vec)(~(mask)(value < 0) & (mask)value);
}

/* in = max(scale * x + shift, 0), inside a border of zeros that stays as it is; NaN stays NaN. */
static void load_activated(const Shape *s, const Plan *p, const real *x, const real *scale,
                           const real *shift, vec *in) {
    const int64_t channels = s->in_channels, vecs = p->in_vecs;
    for (int64_t y = 0; y < s->height; y++) {
        const real *from = x + y * s->width * channels;
        vec *to = in + ((y + p->pad) * p->cols + p->pad) * vecs;
        for (int64_t col = 0; col < s->width; col++, from += channels, to += vecs) {
            if (channels == vecs * LANES) /* whole vectors */
                for (int64_t v = 0; v < vecs; v++) {
                    const vec value = ((const loose *)from)[v];
                    to[v] = positive(scale ? ((const loose *)scale)[v] * value +
                                                 ((const loose *)shift)[v]
                                           : value);
                }
            else
                for (int64_t c = 0; c < channels; c++) {
                    const real value = scale ? scale[c] * from[c] + shift[c] : from[c];
                    ((real *)to)[c] = value < 0 ? 0 : value;
                }
        }
    }
}

static void load_rows(const real *x, int64_t pixels, int64_t channels, vec *to, int64_t vecs) {
    if (channels == vecs * LANES)
        memcpy(to, x, pixels * vecs * sizeof(vec));
    else
        for (int64_t p = 0; p < pixels; p++)
            memcpy(to + p * vecs, x + p * channels, channels * sizeof(real));
}

static void store_rows(const vec *from, int64_t pixels, int64_t channels, int64_t vecs, real *x) {
    if (channels == vecs * LANES)
        memcpy(x, from, pixels * vecs * sizeof(vec));
    else
        for (int64_t p = 0; p < pixels; p++)
            memcpy(x + p * channels, from + p * vecs, channels * sizeof(real));
}

/* Mean and sum of squared deviations of each channel of one image. */
static void image_moments(const vec *z, int64_t pixels, int64_t vecs, double *mean, double *m2) {
    for (int64_t v = 0; v < vecs; v++) {
        vec sum = {0}, squares = {0};
        for (int64_t p = 0; p < pixels; p++) sum += z[p * vecs + v];
        const vec centre = sum / (real)pixels;
        vec rest = {0};
        for (int64_t p = 0; p < pixels; p++) {
            const vec d = z[p * vecs + v] - centre;
            squares += d * d;
            rest += d;
        }
        for (int l = 0; l < LANES; l++) {
            const double correction = (double)rest[l] / pixels;
            mean[v * LANES + l] = (double)centre[l] + correction;
            m2[v * LANES + l] = (double)squares[l] - correction * correction * pixels;
        }
    }
}

/* Moments of all images from those of each (Chan et al. 1979), images in order. */
static void merge_moments(const double *mean, const double *m2, int64_t images, int64_t pixels,
                          int64_t lanes, int64_t channels, real *out_mean, real *out_var) {
    for (int64_t c = 0; c < channels; c++) {
        double total = 0, squares = 0;
        for (int64_t n = 0; n < images; n++) total += mean[n * lanes + c];
        const double centre = total / images;
        for (int64_t n = 0; n < images; n++) {
            const double d = mean[n * lanes + c] - centre;
            squares += m2[n * lanes + c] + d * d * pixels;
        }
        out_mean[c] = (real)centre;
        out_var[c] = (real)(squares / ((double)images * pixels));
    }
}

/* weights[channels][taps] -> packed[taps][vecs], taps in reverse order if `flip`. */
static void pack_depthwise(const real *weights, int64_t channels, int64_t taps, int64_t vecs,
                           int flip, vec *packed) {
    for (int64_t t = 0; t < taps; t++)
        for (int64_t c = 0; c < channels; c++)
            ((real *)(packed + t * vecs))[c] = weights[c * taps + (flip ? taps - 1 - t : t)];
}

/* weights[out][in] -> packed[in][out vecs], or [out][in vecs] if `straight`. */
static void pack_pointwise(const real *weights, int64_t in, int64_t out, int64_t vecs,
                           int straight, vec *packed) {
    for (int64_t o = 0; o < out; o++)
        for (int64_t i = 0; i < in; i++) {
            if (straight)
                ((real *)(packed + o * vecs))[i] = weights[o * in + i];
            else
                ((real *)(packed + i * vecs))[o] = weights[o * in + i];
        }
}

/* ---- ReLU, depthwise, pointwise: forward ------------------------------------------------- */

/* z[g] = pointwise(depthwise(max(scale * x[g] + shift, 0))), and its moments over images and pixels.
 *
 * x, scale, shift: one pointer a group (one in all if shared; scale may be NULL for the identity).
 * depthwise [groups][in][taps], pointwise [groups][out][in], mean and var [groups][out].
 * Returns 0, or 1 if memory ran out.
 */
int separable_forward(const Shape *s, const real *const *x, const real *scale, const real *shift,
                      const real *depthwise_w, const real *pointwise_w, real *const *z, real *mean,
                      real *var) {
    const Plan p = make_plan(s);
    const int64_t groups = s->groups, in_w = p.taps * p.in_vecs;
    const int64_t out_w = s->in_channels * p.out_vecs, lanes = p.out_vecs * LANES;
    vec *packed_dw = allocate(groups * in_w * sizeof(vec));
    vec *packed_pw = allocate(groups * out_w * sizeof(vec));
    double *moments = allocate(2 * groups * s->images * lanes * sizeof(double));
    int failed = !packed_dw || !packed_pw || !moments;
    if (failed) goto done;
    double *m2 = moments + groups * s->images * lanes;
    for (int64_t g = 0; g < groups; g++) {
        pack_depthwise(depthwise_w + g * s->in_channels * p.taps, s->in_channels, p.taps,
                       p.in_vecs, 0, packed_dw + g * in_w);
        pack_pointwise(pointwise_w + g * s->in_channels * s->out_channels, s->in_channels,
                       s->out_channels, p.out_vecs, 0, packed_pw + g * out_w);
    }
#pragma omp parallel num_threads(s->threads) reduction(| : failed)
    {
        const int64_t size_in = p.rows * p.cols * p.in_vecs, size_t_ = p.out_pixels * p.in_vecs;
        vec *in = allocate((size_in + size_t_ + p.out_pixels * p.out_vecs) * sizeof(vec));
        vec *t = in + size_in, *out = t + size_t_;
        failed |= !in;
#pragma omp for schedule(static)
        for (int64_t n = 0; n < s->images; n++) {
            if (!in) continue;
            for (int64_t g = 0; g < groups; g++) {
                const int64_t from = s->shared ? 0 : g;
                if (g == 0 || !s->shared)
                    load_activated(s, &p, x[from] + n * p.pixels * s->in_channels,
                                   scale ? scale + from * s->in_channels : NULL,
                                   scale ? shift + from * s->in_channels : NULL, in);
                depthwise(in, p.cols, p.out_height, p.out_width, s->stride, s->dilation,
                          packed_dw + g * in_w, p.in_vecs, s->kernel, 0, t);
                matmul(t, p.out_pixels, p.in_vecs, s->in_channels, packed_pw + g * out_w,
                       p.out_vecs, out);
                image_moments(out, p.out_pixels, p.out_vecs, moments + (g * s->images + n) * lanes,
                              m2 + (g * s->images + n) * lanes);
                store_rows(out, p.out_pixels, s->out_channels, p.out_vecs,
                           z[g] + n * p.out_pixels * s->out_channels);
            }
        }
        free(in);
    }
    for (int64_t g = 0; g < groups; g++)
        merge_moments(moments + g * s->images * lanes, m2 + g * s->images * lanes, s->images,
                      p.out_pixels, lanes, s->out_channels, mean + g * s->out_channels,
                      var + g * s->out_channels);
done:
    free(packed_dw);
    free(packed_pw);
    free(moments);
    return failed;
}

/* ---- ReLU, depthwise, pointwise: backward ------------------------------------------------ */

/* The buffers of one thread while it works on one image. */
typedef struct {
    vec *in, *t, *grad_z, *grad_t, *spread, *grad_in, *part_dw, *part_pw;
    double *sum_dw, *sum_pw, *sum_a, *sum_b; /* [groups][...], over the thread's images */
} Scratch;

static int make_scratch(const Shape *s, const Plan *p, Scratch *b) {
    const int64_t padded = p->rows * p->cols * p->in_vecs, inner = p->out_pixels * p->in_vecs;
    const int64_t outs = p->out_pixels * p->out_vecs, dw = p->taps * p->in_vecs;
    const int64_t pw = s->in_channels * p->out_vecs;
    const int64_t vecs = 2 * padded + 2 * inner + outs + p->pixels * p->in_vecs + dw + pw;
    b->in = allocate(vecs * sizeof(vec));
    b->sum_dw = allocate(s->groups * (dw + pw + 2 * p->in_vecs) * LANES * sizeof(double));
    if (!b->in || !b->sum_dw) return 1;
    b->spread = b->in + padded;
    b->t = b->spread + padded;
    b->grad_t = b->t + inner;
    b->grad_z = b->grad_t + inner;
    b->grad_in = b->grad_z + outs;
    b->part_dw = b->grad_in + p->pixels * p->in_vecs;
    b->part_pw = b->part_dw + dw;
    b->sum_pw = b->sum_dw + s->groups * dw * LANES;
    b->sum_a = b->sum_pw + s->groups * pw * LANES;
    b->sum_b = b->sum_a + s->groups * p->in_vecs * LANES;
    return 0;
}

static void accumulate(const vec *part, int64_t vecs, double *sum) {
    const real *values = (const real *)part;
    for (int64_t i = 0; i < vecs * LANES; i++) sum[i] += values[i];
}

/* One image of one group: adds to the weights' gradients, and to grad_in (after the ReLU).
 * With add = 0 grad_in is set. */
static void backward_image(const Shape *s, const Plan *p, Scratch *b, const vec *dw,
                           const vec *dw_flipped, const vec *pw_straight, int64_t g, int add,
                           int of_weights) {
    const int64_t size_dw = p->taps * p->in_vecs, size_pw = s->in_channels * p->out_vecs;
    if (of_weights) {
        depthwise(b->in, p->cols, p->out_height, p->out_width, s->stride, s->dilation, dw,
                  p->in_vecs, s->kernel, 0, b->t);
        outer(b->t, p->in_vecs, s->in_channels, b->grad_z, p->out_vecs, p->out_pixels, b->part_pw);
        accumulate(b->part_pw, size_pw, b->sum_pw + g * size_pw * LANES);
    }
    matmul(b->grad_z, p->out_pixels, p->out_vecs, s->out_channels, pw_straight, p->in_vecs,
           b->grad_t);
    if (of_weights) {
        depthwise_weight(b->in, p->cols, p->out_height, p->out_width, s->stride, s->dilation,
                         b->grad_t, p->in_vecs, s->kernel, b->part_dw);
        accumulate(b->part_dw, size_dw, b->sum_dw + g * size_dw * LANES);
    }
    for (int64_t y = 0; y < p->out_height; y++) /* every output at its place in the input */
        for (int64_t x = 0; x < p->out_width; x++)
            for (int64_t v = 0; v < p->in_vecs; v++)
                b->spread[((y * s->stride + p->pad) * p->cols + x * s->stride + p->pad) *
                              p->in_vecs + v] = b->grad_t[(y * p->out_width + x) * p->in_vecs + v];
    depthwise(b->spread, p->cols, s->height, s->width, 1, s->dilation, dw_flipped, p->in_vecs,
              s->kernel, add, b->grad_in);
}

/* grad_x = grad_in where the ReLU was open; sums of it, and of it times x, by channel. */
static void close_relu(const Shape *s, const Plan *p, Scratch *b, const real *x, real *grad_x,
                       double *sum_a, double *sum_b) {
    const int64_t channels = s->in_channels;
    for (int64_t y = 0; y < s->height; y++)
        for (int64_t v = 0; v < p->in_vecs; v++) {
            const vec *in = b->in + ((y + p->pad) * p->cols + p->pad) * p->in_vecs + v;
            const vec *grad = b->grad_in + y * s->width * p->in_vecs + v;
            const int64_t first = v * LANES, lanes = channels - first;
            vec a = {0}, product = {0};
            for (int64_t col = 0; col < s->width; col++) {
                const int64_t at = (y * s->width + col) * channels + first;
                const mask open = in[col * p->in_vecs] > 0;
                const vec value = (vec)(open & (mask)grad[col * p->in_vecs]);
                store_lanes(grad_x + at, value, lanes);
                a += value;
                product += value * load_lanes(x + at, lanes);
            }
            for (int64_t l = 0; l < LANES && l < lanes; l++) {
                sum_a[first + l] += a[l];
                sum_b[first + l] += product[l];
            }
        }
}

static void pack_backward(const Shape *s, const Plan *p, const real *dw, const real *pw, vec *to) {
    const int64_t size_dw = p->taps * p->in_vecs, size_pw = s->out_channels * p->in_vecs;
    for (int64_t g = 0; g < s->groups; g++, to += 2 * size_dw + size_pw) {
        const real *own = dw + g * s->in_channels * p->taps;
        pack_depthwise(own, s->in_channels, p->taps, p->in_vecs, 0, to);
        pack_depthwise(own, s->in_channels, p->taps, p->in_vecs, 1, to + size_dw);
        pack_pointwise(pw + g * s->in_channels * s->out_channels, s->in_channels, s->out_channels,
                       p->in_vecs, 1, to + 2 * size_dw);
    }
}

/* Adds one thread's sums to the outputs, in the layout of the weights. */
static void collect(const Shape *s, const Plan *p, const Scratch *b, real *grad_dw, real *grad_pw,
                    double *sum_a, double *sum_b) {
    const int64_t in_lanes = p->in_vecs * LANES, out_lanes = p->out_vecs * LANES;
    for (int64_t g = 0; g < s->groups; g++) {
        for (int64_t c = 0; grad_dw && c < s->in_channels; c++) {
            for (int64_t t = 0; t < p->taps; t++)
                grad_dw[(g * s->in_channels + c) * p->taps + t] +=
                    (real)b->sum_dw[(g * p->taps + t) * in_lanes + c];
            for (int64_t o = 0; o < s->out_channels; o++)
                grad_pw[(g * s->out_channels + o) * s->in_channels + c] +=
                    (real)b->sum_pw[(g * s->in_channels + c) * out_lanes + o];
        }
        for (int64_t c = 0; c < s->in_channels; c++) {
            sum_a[g * s->in_channels + c] += b->sum_a[g * in_lanes + c];
            sum_b[g * s->in_channels + c] += b->sum_b[g * in_lanes + c];
        }
    }
}

/* Gradients of `separable_forward` for gradients grad_z of its outputs.
 *
 * grad_x: one output pointer an input: the gradient of scale * x + shift. grad_depthwise and
 * grad_pointwise are added to, or both NULL, and not computed. Added to are also sum_a (of grad_x)
 * and sum_b (of grad_x * x), [groups][in].
 * Returns 0, or 1 if memory ran out.
 */
int separable_backward(const Shape *s, const real *const *x, const real *scale, const real *shift,
                       const real *depthwise_w, const real *pointwise_w, const real *const *grad_z,
                       real *const *grad_x, real *grad_depthwise, real *grad_pointwise,
                       double *sum_a, double *sum_b) {
    const Plan p = make_plan(s);
    const int64_t size_dw = p.taps * p.in_vecs;
    const int64_t packed_size = 2 * size_dw + s->out_channels * p.in_vecs;
    vec *packed = allocate(s->groups * packed_size * sizeof(vec));
    Scratch *all = allocate(s->threads * sizeof(Scratch));
    int failed = !packed || !all;
    if (failed) goto done;
    pack_backward(s, &p, depthwise_w, pointwise_w, packed);
#pragma omp parallel num_threads(s->threads) reduction(| : failed)
    {
        Scratch *b = all + omp_get_thread_num();
        const int broken = make_scratch(s, &p, b);
        failed |= broken;
#pragma omp for schedule(static)
        for (int64_t n = 0; n < s->images; n++) {
            if (broken) continue;
            for (int64_t g = 0; g < s->groups; g++) {
                const int64_t from = s->shared ? 0 : g;
                const real *image = x[from] + n * p.pixels * s->in_channels;
                if (g == 0 || !s->shared)
                    load_activated(s, &p, image, scale ? scale + from * s->in_channels : NULL,
                                   scale ? shift + from * s->in_channels : NULL, b->in);
                load_rows(grad_z[g] + n * p.out_pixels * s->out_channels, p.out_pixels,
                          s->out_channels, b->grad_z, p.out_vecs);
                const vec *w = packed + g * packed_size;
                backward_image(s, &p, b, w, w + size_dw, w + 2 * size_dw, g, s->shared && g > 0,
                               grad_depthwise != NULL);
                if (!s->shared || g == s->groups - 1)
                    close_relu(s, &p, b, image, grad_x[from] + n * p.pixels * s->in_channels,
                               b->sum_a + from * p.in_vecs * LANES,
                               b->sum_b + from * p.in_vecs * LANES);
            }
        }
    }
    for (int64_t i = 0; i < s->threads && !failed; i++)
        if (all[i].in) collect(s, &p, all + i, grad_depthwise, grad_pointwise, sum_a, sum_b);
done:
    for (int64_t i = 0; all && i < s->threads; i++) {
        free(all[i].in);
        free(all[i].sum_dw);
    }
    free(packed);
    free(all);
    return failed;
}

/* ---- batch-normalised sums: elementwise passes over [pixels][channels] -------------------- */

typedef struct {
    int64_t images, pixels, channels, terms, threads; /* pixels of one image */
} Sum;

/* Mean and variance of every channel of every term; mean, var: [terms][channels].
 * Returns 0, or 1 if memory ran out. */
int moments(const Sum *s, const real *const *z, real *mean, real *var) {
    const int64_t channels = s->channels, vecs = (channels + LANES - 1) / LANES;
    const int64_t lanes = vecs * LANES, half = s->terms * s->images * lanes;
    double *parts = allocate(2 * half * sizeof(double));
    int failed = !parts;
    if (failed) return failed;
#pragma omp parallel num_threads(s->threads) reduction(| : failed)
    {
        vec *rows = allocate(s->pixels * vecs * sizeof(vec));
        failed |= !rows;
#pragma omp for schedule(static)
        for (int64_t n = 0; n < s->images; n++)
            for (int64_t k = 0; k < s->terms; k++) {
                if (!rows) continue;
                double *own = parts + (k * s->images + n) * lanes;
                load_rows(z[k] + n * s->pixels * channels, s->pixels, channels, rows, vecs);
                image_moments(rows, s->pixels, vecs, own, own + half);
            }
        free(rows);
    }
    for (int64_t k = 0; k < s->terms; k++) {
        const double *own = parts + k * s->images * lanes;
        merge_moments(own, own + half, s->images, s->pixels, lanes, channels,
                      mean + k * channels, var + k * channels);
    }
    free(parts);
    return failed;
}

enum { CHUNK = 64 }; /* pixels that stay in the cache while all terms pass */

/* out = constant + sum over terms of scale[term] * z[term]; scale [terms][channels]. */
void weighted_sum(const Sum *s, const real *const *z, const real *scale, const real *constant,
                  real *out) {
    const int64_t channels = s->channels, pixels = s->images * s->pixels;
#pragma omp parallel for schedule(static) num_threads(s->threads)
    for (int64_t first = 0; first < pixels; first += CHUNK) {
        const int64_t count = pixels - first < CHUNK ? pixels - first : CHUNK;
        for (int64_t c = 0; c < channels; c += LANES) {
            const int64_t lanes = channels - c;
            vec sum[CHUNK];
            const vec start = load_lanes(constant + c, lanes);
            for (int64_t p = 0; p < count; p++) sum[p] = start;
            for (int64_t k = 0; k < s->terms; k++) {
                const vec factor = load_lanes(scale + k * channels + c, lanes);
                const real *from = z[k] + first * channels + c;
                for (int64_t p = 0; p < count; p++)
                    sum[p] += factor * load_lanes(from + p * channels, lanes);
            }
            for (int64_t p = 0; p < count; p++)
                store_lanes(out + (first + p) * channels + c, sum[p], lanes);
        }
    }
}

/* dots[term] = sum over pixels of g * z[term], and dots[terms] = sum of g; [terms + 1][channels].
 * Returns 0, or 1 if memory ran out. */
int weighted_sum_dots(const Sum *s, const real *const *z, const real *g, double *dots) {
    const int64_t channels = s->channels, size = (s->terms + 1) * channels;
    const int64_t pixels = s->images * s->pixels;
    double *partial = allocate(s->threads * size * sizeof(double));
    if (!partial) return 1;
#pragma omp parallel num_threads(s->threads)
    {
        double *own = partial + omp_get_thread_num() * size;
#pragma omp for schedule(static)
        for (int64_t first = 0; first < pixels; first += CHUNK) {
            const int64_t count = pixels - first < CHUNK ? pixels - first : CHUNK;
            for (int64_t c = 0; c < channels; c += LANES) {
                const int64_t lanes = channels - c;
                vec grad[CHUNK], total = {0};
                for (int64_t p = 0; p < count; p++) {
                    grad[p] = load_lanes(g + (first + p) * channels + c, lanes);
                    total += grad[p];
                }
                for (int64_t k = 0; k <= s->terms; k++) {
                    vec even = {0}, odd = {0};
                    if (k < s->terms) {
                        const real *from = z[k] + first * channels + c;
                        int64_t p = 0;
                        for (; p + 2 <= count; p += 2) {
                            even += grad[p] * load_lanes(from + p * channels, lanes);
                            odd += grad[p + 1] * load_lanes(from + (p + 1) * channels, lanes);
                        }
                        if (p < count) even += grad[p] * load_lanes(from + p * channels, lanes);
                    }
                    const vec sum = k < s->terms ? even + odd : total;
                    for (int64_t l = 0; l < LANES && l < lanes; l++)
                        own[k * channels + c + l] += sum[l];
                }
            }
        }
    }
    for (int64_t t = 0; t < s->threads; t++)
        for (int64_t i = 0; i < size; i++) dots[i] += partial[t * size + i];
    free(partial);
    return 0;
}

/* out[term] = a[term] * g[term] + b[term] * z[term] + c[term]; out may be g; a [terms][channels]. */
void combine(const Sum *s, const real *const *z, const real *const *g, const real *a,
             const real *b, const real *c, real *const *out) {
    const int64_t channels = s->channels, pixels = s->images * s->pixels;
#pragma omp parallel for schedule(static) num_threads(s->threads)
    for (int64_t first = 0; first < pixels; first += CHUNK) {
        const int64_t last = first + CHUNK < pixels ? first + CHUNK : pixels;
        for (int64_t k = 0; k < s->terms; k++)
            for (int64_t i = 0; i < channels; i += LANES) {
                const int64_t lanes = channels - i;
                const vec ak = load_lanes(a + k * channels + i, lanes);
                const vec bk = load_lanes(b + k * channels + i, lanes);
                const vec ck = load_lanes(c + k * channels + i, lanes);
                for (int64_t p = first; p < last; p++) {
                    const int64_t at = p * channels + i;
                    store_lanes(out[k] + at, ak * load_lanes(g[k] + at, lanes) +
                                                 bk * load_lanes(z[k] + at, lanes) + ck,
                                lanes);
                }
            }
    }
}

/* ---- 3x3 pools: maximum and average of the pixels inside the image ------------------------ */

typedef struct {
    int64_t y, x, taps; /* the input pixel of the first tap; how many taps lie inside */
} Window;

INLINE int inside(const Shape *s, const Window *w, int tap) {
    const int64_t y = w->y + tap / 3, x = w->x + tap % 3;
    return y >= 0 && y < s->height && x >= 0 && x < s->width;
}

INLINE Window window_at(const Shape *s, int64_t y, int64_t x) {
    Window w = {y * s->stride - 1, x * s->stride - 1, 0};
    for (int tap = 0; tap < 9; tap++) w.taps += inside(s, &w, tap);
    return w;
}

static void pool_image(const Shape *s, const Plan *p, const real *x, vec *highest, vec *average,
                       uint8_t *choice) {
    const int64_t channels = s->in_channels;
    for (int64_t out = 0; out < p->out_pixels; out++) {
        const Window w = window_at(s, out / p->out_width, out % p->out_width);
        for (int64_t v = 0; v < p->in_vecs; v++) {
            const int64_t first = v * LANES, lanes = channels - first;
            vec best = {0}, sum = {0};
            mask chosen = {0};
            int started = 0;
            for (int tap = 0; tap < 9; tap++) {
                if (!inside(s, &w, tap)) continue;
                const int64_t pixel = (w.y + tap / 3) * s->width + w.x + tap % 3;
                const vec value = load_lanes(x + pixel * channels + first, lanes);
                const mask better = started ? (value > best) | (value != value) : ~(mask){0};
                best = (vec)((better & (mask)value) | (~better & (mask)best));
                chosen = (better & (tap - (mask){0})) | (~better & chosen);
                sum += value;
                started = 1;
            }
            highest[out * p->in_vecs + v] = best;
            average[out * p->in_vecs + v] = sum / (real)w.taps;
            for (int64_t l = 0; l < LANES && l < lanes; l++)
                choice[out * channels + first + l] = (uint8_t)chosen[l];
        }
    }
}

/* Both pools of x, which tap was the largest, and the moments of both; only kernel = 3.
 * mean, var: [2][channels]. Returns 0, or 1 if memory ran out. */
int pools_forward(const Shape *s, const real *x, real *highest, real *average, uint8_t *choice,
                  real *mean, real *var) {
    const Plan p = make_plan(s);
    const int64_t channels = s->in_channels, lanes = p.in_vecs * LANES;
    const int64_t half = s->images * lanes, size = p.out_pixels * p.in_vecs;
    double *moments = allocate(4 * half * sizeof(double));
    int failed = !moments;
    if (failed) return failed;
#pragma omp parallel num_threads(s->threads) reduction(| : failed)
    {
        vec *high = allocate(2 * size * sizeof(vec)), *mid = high + size;
        failed |= !high;
#pragma omp for schedule(static)
        for (int64_t n = 0; n < s->images; n++) {
            if (!high) continue;
            const int64_t at = n * p.out_pixels * channels;
            double *own = moments + n * lanes;
            pool_image(s, &p, x + n * p.pixels * channels, high, mid, choice + at);
            image_moments(high, p.out_pixels, p.in_vecs, own, own + 2 * half);
            image_moments(mid, p.out_pixels, p.in_vecs, own + half, own + 3 * half);
            store_rows(high, p.out_pixels, channels, p.in_vecs, highest + at);
            store_rows(mid, p.out_pixels, channels, p.in_vecs, average + at);
        }
        free(high);
    }
    for (int k = 0; k < 2; k++)
        merge_moments(moments + k * half, moments + (2 + k) * half, s->images, p.out_pixels, lanes,
                      channels, mean + k * channels, var + k * channels);
    free(moments);
    return failed;
}

/* grad_x, which must be zero, for the gradients of both pools. */
void pools_backward(const Shape *s, const real *grad_highest, const real *grad_average,
                    const uint8_t *choice, real *grad_x) {
    const Plan p = make_plan(s);
    const int64_t channels = s->in_channels;
#pragma omp parallel for schedule(static) num_threads(s->threads)
    for (int64_t n = 0; n < s->images; n++)
        for (int64_t out = 0; out < p.out_pixels; out++) {
            const int64_t at = (n * p.out_pixels + out) * channels;
            const Window w = window_at(s, out / p.out_width, out % p.out_width);
            const real share = (real)1 / w.taps;
            for (int tap = 0; tap < 9; tap++) {
                if (!inside(s, &w, tap)) continue;
                const int64_t pixel = (w.y + tap / 3) * s->width + w.x + tap % 3;
                real *to = grad_x + (n * p.pixels + pixel) * channels;
                for (int64_t c = 0; c < channels; c++)
                    to[c] += share * grad_average[at + c] +
                             (choice[at + c] == tap ? grad_highest[at + c] : 0);
            }
        }
}
