/* Training steps of small networks on one core: depthwise 3x3 (or none), pointwise, batch norm,
   ReLU, joined in any acyclic way; then the average of every map and a linear classifier.

   Maps are [channels][pixels][images]: images lie side by side, so that every loop is a vector's,
   and a node that joins others reads them where they are. */

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef float vec __attribute__((vector_size(64), aligned(4)));
#define LANES 16

typedef struct {
    long num_inputs;    /* channels read: the maps' of `inputs`, one after another */
    const long *inputs; /* channel k is channel inputs[2k + 1] of the map of operation inputs[2k];
                           -1 is the batch's windows */
    long out_channels;
    long depthwise; /* 0 or 1 */
    long stride, size_in, size_out;
    long w_depthwise, w_pointwise, w_scale, w_shift; /* places in the weights */
    long keep_inputs; /* 0: nothing to learn lies before it, so no gradient goes there */
} Operation;

typedef struct {
    long num_operations;
    const Operation *operations;
    long num_outputs; /* channels that the classifier reads */
    const long *outputs;
    long num_classes, num_images;
    long w_classifier, w_bias;
} Network;

/* Memory that every batch uses again. */
static float *pool = NULL;
static long pool_size = 0, pool_used = 0;

static void make_room(long count) {
    if (count > pool_size) {
        free(pool);
        if (posix_memalign((void **)&pool, 64, (size_t)count * sizeof(float))) abort();
        pool_size = count;
    }
    pool_used = 0;
}

static long rounded(long count) { return (count + LANES - 1) / LANES * LANES; }

static float *floats(long count) {
    float *memory = pool + pool_used;
    pool_used += rounded(count);
    if (pool_used > pool_size) abort();
    return memory;
}

static float sum_of(vec v) {
    float total = 0;
    for (int k = 0; k < LANES; k++) total += v[k];
    return total;
}

/* out[o][m] (+)= sum_k w(o, k) in[k][m] for m < count */
static void mix(long outs, long ins, float *const *out, const float *const *in, const float *w,
                long w_out, long w_in, long count, int add) {
    long m = 0;
    for (; m + 2 * LANES <= count; m += 2 * LANES) {
        long o = 0;
        for (; o + 8 <= outs; o += 8) {
            vec a[8], b[8];
            for (int j = 0; j < 8; j++) {
                a[j] = add ? *(const vec *)(out[o + j] + m) : (vec){0};
                b[j] = add ? *(const vec *)(out[o + j] + m + LANES) : (vec){0};
            }
            for (long k = 0; k < ins; k++) {
                vec x = *(const vec *)(in[k] + m), y = *(const vec *)(in[k] + m + LANES);
                const float *v = w + o * w_out + k * w_in;
#pragma GCC unroll 8
                for (int j = 0; j < 8; j++) {
                    a[j] += v[j * w_out] * x;
                    b[j] += v[j * w_out] * y;
                }
            }
            for (int j = 0; j < 8; j++) {
                *(vec *)(out[o + j] + m) = a[j];
                *(vec *)(out[o + j] + m + LANES) = b[j];
            }
        }
        for (; o < outs; o++) {
            vec a = add ? *(const vec *)(out[o] + m) : (vec){0};
            vec b = add ? *(const vec *)(out[o] + m + LANES) : (vec){0};
            for (long k = 0; k < ins; k++) {
                float v = w[o * w_out + k * w_in];
                a += v * *(const vec *)(in[k] + m);
                b += v * *(const vec *)(in[k] + m + LANES);
            }
            *(vec *)(out[o] + m) = a;
            *(vec *)(out[o] + m + LANES) = b;
        }
    }
    for (; m < count; m++)
        for (long o = 0; o < outs; o++) {
            float a = add ? out[o][m] : 0;
            for (long k = 0; k < ins; k++) a += w[o * w_out + k * w_in] * in[k][m];
            out[o][m] = a;
        }
}

/* w[o][k] = sum_m grad[o][m] in[k][m] */
static void dots(long outs, long ins, const float *const *grad, const float *const *in, float *w,
                 long count) {
    for (long o = 0; o < outs; o += 8) {
        long some = outs - o < 8 ? outs - o : 8;
        for (long k = 0; k < ins; k += 2) {
            int two = k + 1 < ins;
            const float *x = in[k], *y = in[two ? k + 1 : k];
            vec a[8] = {{0}}, b[8] = {{0}};
            long m = 0;
            if (some == 8)
                for (; m + LANES <= count; m += LANES) {
                    vec p = *(const vec *)(x + m), q = *(const vec *)(y + m);
#pragma GCC unroll 8
                    for (int j = 0; j < 8; j++) {
                        vec g = *(const vec *)(grad[o + j] + m);
                        a[j] += g * p;
                        b[j] += g * q;
                    }
                }
            for (int j = 0; j < some; j++) {
                float s = sum_of(a[j]), t = sum_of(b[j]);
                for (long r = m; r < count; r++) {
                    s += grad[o + j][r] * x[r];
                    t += grad[o + j][r] * y[r];
                }
                w[(o + j) * ins + k] = s;
                if (two) w[(o + j) * ins + k + 1] = t;
            }
        }
    }
}

/* One channel: out [P'][N] = the 3x3 windows of in [P][N], zeros around. */
static void windowed(const float *in, float *out, const float *w, const Operation *op, long n) {
    for (long r = 0; r < op->size_out; r++)
        for (long c = 0; c < op->size_out; c++) {
            float *o = out + (r * op->size_out + c) * n;
            const float *from[9];
            float v[9];
            int taps = 0;
            for (int t = 0; t < 9; t++) {
                long y = r * op->stride + t / 3 - 1, x = c * op->stride + t % 3 - 1;
                if (y < 0 || x < 0 || y >= op->size_in || x >= op->size_in) continue;
                from[taps] = in + (y * op->size_in + x) * n;
                v[taps++] = w[t];
            }
            long m = 0;
            for (; m + LANES <= n; m += LANES) {
                vec a = v[0] * *(const vec *)(from[0] + m);
                for (int t = 1; t < taps; t++) a += v[t] * *(const vec *)(from[t] + m);
                *(vec *)(o + m) = a;
            }
            for (; m < n; m++) {
                o[m] = 0;
                for (int t = 0; t < taps; t++) o[m] += v[t] * from[t][m];
            }
        }
}

/* Its gradients: of the weights, set; of the input (unless NULL), added. */
static void windowed_back(const float *in, const float *grad, float *grad_in, const float *w,
                          float *grad_w, const Operation *op, long n) {
    for (int t = 0; t < 9; t++) {
        vec a = {0};
        float rest = 0;
        for (long r = 0; r < op->size_out; r++)
            for (long c = 0; c < op->size_out; c++) {
                long y = r * op->stride + t / 3 - 1, x = c * op->stride + t % 3 - 1;
                if (y < 0 || x < 0 || y >= op->size_in || x >= op->size_in) continue;
                const float *g = grad + (r * op->size_out + c) * n;
                const float *i = in + (y * op->size_in + x) * n;
                float *gi = grad_in ? grad_in + (y * op->size_in + x) * n : NULL;
                long m = 0;
                for (; m + LANES <= n; m += LANES) {
                    vec q = *(const vec *)(g + m);
                    a += q * *(const vec *)(i + m);
                    if (gi) *(vec *)(gi + m) += w[t] * q;
                }
                for (; m < n; m++) {
                    rest += g[m] * i[m];
                    if (gi) gi[m] += w[t] * g[m];
                }
            }
        grad_w[t] = sum_of(a) + rest;
    }
}

/* Runs a batch.

   windows [num_windows][window_pixels][N]; labels [N] or NULL; logits [N][classes] out;
   gradient [weights] or NULL: of the mean cross-entropy with label smoothing.
   statistics: means and variances of every batch norm, one operation after another; `average` -1
   leaves them alone, k >= 1 makes this batch the k-th of those averaged, 0 measures with them.
   Returns the sum of the losses. */
double run(const Network *net, const float *weights, float *gradient, const float *windows,
           const long *labels, float smoothing, float *logits, float *statistics, long average) {
    long n = net->num_images, count = net->num_operations, most = 0, room = 0;
    float **maps = calloc((size_t)count, sizeof *maps), **raw = calloc((size_t)count, sizeof *raw);
    float **wide = calloc((size_t)count, sizeof *wide), **grads = calloc((size_t)count, sizeof *grads);
    float **inverse = calloc((size_t)count, sizeof *inverse), **mean = calloc((size_t)count, sizeof *mean);
    for (long k = 0; k < count; k++) {
        const Operation *op = net->operations + k;
        if (op->num_inputs > most) most = op->num_inputs;
        if (op->out_channels > most) most = op->out_channels;
        long m = op->size_out * op->size_out * n;
        room += 3 * rounded(op->out_channels * m) + 2 * rounded(op->out_channels);
        if (op->depthwise) room += 2 * rounded(op->num_inputs * m);
    }
    if (net->num_outputs > most) most = net->num_outputs;
    make_room(room + 2 * rounded(net->num_outputs * n) + rounded(net->num_classes * n));
    const float **in = malloc((size_t)most * sizeof *in), **from = malloc((size_t)most * sizeof *from);
    float **out = malloc((size_t)most * sizeof *out), **back = malloc((size_t)most * sizeof *back);

    for (long k = 0; k < count; k++) {
        const Operation *op = net->operations + k;
        long in_m = op->size_in * op->size_in * n, m = op->size_out * op->size_out * n;
        raw[k] = floats(op->out_channels * m);
        maps[k] = floats(op->out_channels * m);
        mean[k] = floats(op->out_channels);
        inverse[k] = floats(op->out_channels);
        if (op->depthwise) wide[k] = floats(op->num_inputs * m);
        for (long i = 0; i < op->num_inputs; i++) {
            long source = op->inputs[2 * i], channel = op->inputs[2 * i + 1];
            in[i] = (source < 0 ? windows : maps[source]) + channel * in_m;
            if (op->depthwise) {
                windowed(in[i], wide[k] + i * m, weights + op->w_depthwise + 9 * i, op, n);
                in[i] = wide[k] + i * m;
            }
        }
        for (long o = 0; o < op->out_channels; o++) out[o] = raw[k] + o * m;
        mix(op->out_channels, op->num_inputs, out, in, weights + op->w_pointwise, op->num_inputs, 1,
            m, 0);
        for (long o = 0; o < op->out_channels; o++) {
            const float *x = out[o];
            float mu, var;
            if (average != 0) {
                float s = 0, s2 = 0;
                for (long i = 0; i < m; i++) s += x[i];
                mu = s / m;
                for (long i = 0; i < m; i++) s2 += (x[i] - mu) * (x[i] - mu);
                var = s2 / m;
                if (average > 0) {
                    statistics[o] += (mu - statistics[o]) / average;
                    float *v = statistics + op->out_channels + o;
                    *v += (s2 / (m - 1) - *v) / average;
                }
            } else {
                mu = statistics[o];
                var = statistics[op->out_channels + o];
            }
            mean[k][o] = mu;
            inverse[k][o] = 1 / sqrtf(var + 1e-5f);
            float scale = weights[op->w_scale + o] * inverse[k][o];
            float shift = weights[op->w_shift + o] - mu * scale;
            float *y = maps[k] + o * m;
            for (long i = 0; i < m; i++) {
                float z = x[i] * scale + shift;
                y[i] = z > 0 ? z : 0;
            }
        }
        if (statistics) statistics += 2 * op->out_channels;
    }

    /* The classifier reads averages [outputs][N]. */
    const Operation *last = net->operations + net->outputs[0];
    long pixels = last->size_out * last->size_out, classes = net->num_classes;
    float *pooled = floats(net->num_outputs * n), *grad_pooled = floats(net->num_outputs * n);
    for (long c = 0; c < net->num_outputs; c++) {
        const float *x = maps[net->outputs[2 * c]] + net->outputs[2 * c + 1] * pixels * n;
        float *y = pooled + c * n;
        memset(y, 0, (size_t)n * sizeof *y);
        for (long p = 0; p < pixels; p++)
            for (long i = 0; i < n; i++) y[i] += x[p * n + i];
        for (long i = 0; i < n; i++) y[i] /= pixels;
    }
    float *scores = floats(classes * n);
    for (long k = 0; k < classes; k++) {
        float *s = scores + k * n;
        for (long i = 0; i < n; i++) s[i] = weights[net->w_bias + k];
        for (long c = 0; c < net->num_outputs; c++) {
            float w = weights[net->w_classifier + k * net->num_outputs + c];
            for (long i = 0; i < n; i++) s[i] += w * pooled[c * n + i];
        }
    }
    double loss = 0;
    for (long i = 0; i < n; i++) {
        for (long k = 0; k < classes; k++) logits[i * classes + k] = scores[k * n + i];
        if (!labels) continue;
        float top = scores[i], total = 0, target = 0;
        for (long k = 1; k < classes; k++) top = fmaxf(top, scores[k * n + i]);
        for (long k = 0; k < classes; k++) total += expf(scores[k * n + i] - top);
        float norm = top + logf(total);
        for (long k = 0; k < classes; k++) {
            float wanted = smoothing / classes + (k == labels[i]) * (1 - smoothing);
            float s = scores[k * n + i];
            target += wanted * (norm - s);
            scores[k * n + i] = (expf(s - norm) - wanted) / n; /* now the gradient */
        }
        loss += target;
    }

    if (gradient) {
        memset(grad_pooled, 0, (size_t)(net->num_outputs * n) * sizeof(float));
        for (long k = 0; k < classes; k++) {
            const float *g = scores + k * n;
            float bias = 0;
            for (long i = 0; i < n; i++) bias += g[i];
            gradient[net->w_bias + k] = bias;
            for (long c = 0; c < net->num_outputs; c++) {
                long place = net->w_classifier + k * net->num_outputs + c;
                float dot = 0;
                for (long i = 0; i < n; i++) {
                    dot += g[i] * pooled[c * n + i];
                    grad_pooled[c * n + i] += weights[place] * g[i];
                }
                gradient[place] = dot;
            }
        }
        for (long k = 0; k < count; k++) {
            const Operation *op = net->operations + k;
            long size = op->out_channels * op->size_out * op->size_out * n;
            grads[k] = floats(size);
            memset(grads[k], 0, (size_t)size * sizeof(float));
        }
        for (long c = 0; c < net->num_outputs; c++) {
            float *g = grads[net->outputs[2 * c]] + net->outputs[2 * c + 1] * pixels * n;
            for (long p = 0; p < pixels; p++)
                for (long i = 0; i < n; i++) g[p * n + i] += grad_pooled[c * n + i] / pixels;
        }
        for (long k = count - 1; k >= 0; k--) {
            const Operation *op = net->operations + k;
            long in_m = op->size_in * op->size_in * n, m = op->size_out * op->size_out * n;
            for (long o = 0; o < op->out_channels; o++) {
                float *g = grads[k] + o * m;
                const float *x = raw[k] + o * m, *y = maps[k] + o * m;
                float mu = mean[k][o], inv = inverse[k][o], s = 0, sx = 0;
                for (long i = 0; i < m; i++) {
                    g[i] = y[i] > 0 ? g[i] : 0;
                    s += g[i];
                    sx += g[i] * (x[i] - mu);
                }
                gradient[op->w_shift + o] = s;
                gradient[op->w_scale + o] = sx * inv;
                float scale = weights[op->w_scale + o] * inv;
                float c1 = scale * s / m, c2 = scale * sx * inv * inv / m;
                for (long i = 0; i < m; i++) g[i] = scale * g[i] - c1 - c2 * (x[i] - mu);
                from[o] = g;
            }
            float *narrow = NULL;
            if (op->depthwise) narrow = floats(op->num_inputs * m);
            for (long i = 0; i < op->num_inputs; i++) {
                long source = op->inputs[2 * i], channel = op->inputs[2 * i + 1];
                in[i] = op->depthwise ? wide[k] + i * m
                                      : (source < 0 ? windows : maps[source]) + channel * in_m;
                back[i] = op->depthwise ? narrow + i * m
                          : source < 0  ? NULL
                                        : grads[source] + channel * in_m;
            }
            dots(op->out_channels, op->num_inputs, from, in, gradient + op->w_pointwise, m);
            if (op->depthwise || op->keep_inputs)
                mix(op->num_inputs, op->out_channels, back, from, weights + op->w_pointwise, 1,
                    op->num_inputs, m, !op->depthwise);
            for (long i = 0; op->depthwise && i < op->num_inputs; i++) {
                long source = op->inputs[2 * i], channel = op->inputs[2 * i + 1];
                windowed_back((source < 0 ? windows : maps[source]) + channel * in_m,
                              narrow + i * m, source < 0 ? NULL : grads[source] + channel * in_m,
                              weights + op->w_depthwise + 9 * i, gradient + op->w_depthwise + 9 * i,
                              op, n);
            }
        }
    }
    free(maps); free(raw); free(wide); free(grads); free(mean); free(inverse);
    free(in); free(from); free(out); free(back);
    return loss;
}

/* out [channels][pixels][count] = table [images][channels][pixels], those of `rows`. */
void gather(const float *table, const long *rows, float *out, long values, long count) {
    for (long first = 0; first < values; first += LANES) {
        long end = first + LANES < values ? first + LANES : values;
        for (long i = 0; i < count; i++) {
            const float *x = table + rows[i] * values;
            for (long v = first; v < end; v++) out[v * count + i] = x[v];
        }
    }
}
