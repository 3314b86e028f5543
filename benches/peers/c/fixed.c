// A training step by hand without a BLAS: all sizes are known to the compiler, and plain loops over blocks of 4 rows and at most
// 64 columns, which it keeps in registers, are all there is.
#include "serve.h"

#define INLINE static inline __attribute__((always_inline))

enum { ROWS = 4, COLUMNS = 64 };

// c[rows × n] = bias + a[rows × k] · b[k × n], or without `bias` a product alone.
INLINE void product(int rows, int n, int k, const float *restrict a, const float *restrict b, const float *restrict bias, float *restrict c) {
  const int high = rows < ROWS ? rows : ROWS, wide = n < COLUMNS ? n : COLUMNS;
  for (int i = 0; i < rows; i += high)
    for (int j = 0; j < n; j += wide) {
      float sum[ROWS][COLUMNS];
      int columns = n - j < wide ? n - j : wide;
      for (int r = 0; r < high; r++)
        for (int q = 0; q < columns; q++) sum[r][q] = bias ? bias[j + q] : 0;
      for (int p = 0; p < k; p++)
        for (int r = 0; r < high; r++)
          for (int q = 0; q < columns; q++) sum[r][q] += a[(i + r) * k + p] * b[p * n + j + q];
      for (int r = 0; r < high; r++)
        for (int q = 0; q < columns; q++) c[(i + r) * n + j + q] = sum[r][q];
    }
}

// What an update of one parameter has: its slope g.
INLINE void update(const Spec s, float *w, float *m, float *v, float g, float m_scale, float v_scale) {
  if (s.optimizer == SGD) *w -= s.rate * g;
  else if (s.optimizer == MOMENTUM) *w -= s.rate * (*m = .9f * *m + g);
  else {
    *m = .9f * *m + .1f * g;
    *v = .999f * *v + .001f * g * g;
    *w -= s.rate * (*m * m_scale) / (sqrtf(*v * v_scale) + 1e-8f);
  }
}

// The gradient xᵀ[in × rows] · d[rows × out] of the weights, which are updated at once; of the bias likewise.
INLINE void gradient(const Spec s, int rows, int in, int out, const float *restrict x, const float *restrict d, float *restrict w, float *restrict m, float *restrict v, float m_scale, float v_scale) {
  const int high = in % ROWS ? 1 : ROWS, wide = out < COLUMNS ? out : COLUMNS;
  for (int i = 0; i < in; i += high)
    for (int j = 0; j < out; j += wide) {
      float sum[ROWS][COLUMNS];
      int columns = out - j < wide ? out - j : wide;
      for (int r = 0; r < high; r++)
        for (int q = 0; q < columns; q++) sum[r][q] = 0;
      for (int p = 0; p < rows; p++)
        for (int r = 0; r < high; r++)
          for (int q = 0; q < columns; q++) sum[r][q] += x[p * in + i + r] * d[p * out + j + q];
      for (int r = 0; r < high; r++)
        for (int q = 0; q < columns; q++) {
          int at = (i + r) * out + j + q;
          update(s, w + at, m + at, v + at, sum[r][q], m_scale, v_scale);
        }
    }
  for (int j = 0; j < out; j++) {
    float sum = 0;
    for (int p = 0; p < rows; p++) sum += d[p * out + j];
    int at = in * out + j;
    update(s, w + at, m + at, v + at, sum, m_scale, v_scale);
  }
}

// below[rows × in] = d[rows × out] · wᵀ, times the slope of the activation `a` there.
INLINE void delta(enum activation f, int rows, int in, int out, const float *restrict d, const float *restrict w, const float *restrict a, float *restrict turned, float *restrict below) {
  for (int i = 0; i < in; i++)
    for (int j = 0; j < out; j++) turned[j * in + i] = w[i * out + j];
  product(rows, in, out, d, turned, NULL, below);
  for (int i = 0; i < rows * in; i++) below[i] = f == RELU ? (a[i] > 0 ? below[i] : 0) : below[i] * (1 - a[i] * a[i]);
}

INLINE void activate(enum activation f, int count, float *restrict z) {
  for (int i = 0; i < count; i++) z[i] = f == RELU ? (z[i] > 0 ? z[i] : 0) : tanhf(z[i]);
}

// The loss of a batch; d becomes its derivative by the pre-activations z of the last layer.
INLINE float loss(const Spec s, int rows, int out, const float *restrict z, const float *restrict y, float *restrict d) {
  float sum = 0;
  if (s.loss == BCE) {
    for (int i = 0; i < rows; i++) {
      float p = 1 / (1 + expf(-z[i]));
      sum -= y[i] * logf(p + 1e-7f) + (1 - y[i]) * logf(1 - p + 1e-7f);
      d[i] = (p - y[i]) / rows;
    }
    return sum / rows;
  }
  if (s.loss == MSE) {
    for (int i = 0; i < rows * out; i++) {
      float e = z[i] - y[i];
      sum += e * e;
      d[i] = 2 * e / (rows * out);
    }
    return sum / (rows * out);
  }
  for (int i = 0; i < rows; i++) {
    const float *row = z + i * out;
    int class = y[i];
    float most = row[0], total = 0;
    for (int j = 1; j < out; j++) most = row[j] > most ? row[j] : most;
    for (int j = 0; j < out; j++) total += d[i * out + j] = expf(row[j] - most);
    sum += logf(total) + most - row[class];
    float scale = 1 / (total * rows);
    for (int j = 0; j < out; j++) d[i * out + j] *= scale;
    d[i * out + class] -= 1.f / rows;
  }
  return sum / rows;
}

// Of the workload that was asked for last; the parameters of all layers: weights [in × out], bias [out].
static float *initial, *params, *m, *v, *x, *y;
static size_t params_len;
static float *a[MAX_LAYERS + 1], *d[MAX_LAYERS + 1], *turned;

INLINE double train(const Spec s, long steps, double *check) {
  memcpy(params, initial, params_len * sizeof(float));
  memset(m, 0, params_len * sizeof(float));
  memset(v, 0, params_len * sizeof(float));
  const int rows = s.batch, last = s.layers, outputs = s.sizes[last], labels = s.loss == CE ? 1 : outputs;
  int at[MAX_LAYERS] = {0};
  for (int l = 1; l < last; l++) at[l] = at[l - 1] + (s.sizes[l - 1] + 1) * s.sizes[l];
  float error = 0;
  double start = now();
  for (long step = 0; step < steps; step++) {
    int batch = step % BATCHES;
    const float *input = x + (size_t)batch * rows * s.sizes[0];
    float m_scale = s.optimizer == ADAM ? 1 / (1 - powf(.9f, step + 1)) : 0;
    float v_scale = s.optimizer == ADAM ? 1 / (1 - powf(.999f, step + 1)) : 0;
#pragma GCC unroll 3
    for (int l = 0; l < last; l++) {
      const float *w = params + at[l];
      product(rows, s.sizes[l + 1], s.sizes[l], l ? a[l] : input, w, w + s.sizes[l] * s.sizes[l + 1], a[l + 1]);
      if (l < last - 1) activate(s.activation, rows * s.sizes[l + 1], a[l + 1]);
    }
    error = loss(s, rows, outputs, a[last], y + (size_t)batch * rows * labels, d[last]);
#pragma GCC unroll 3
    for (int l = last - 1; l >= 0; l--) {
      if (l) delta(s.activation, rows, s.sizes[l], s.sizes[l + 1], d[l + 1], params + at[l], a[l], turned, d[l]);
      gradient(s, rows, s.sizes[l], s.sizes[l + 1], l ? a[l] : input, d[l + 1], params + at[l], m + at[l], v + at[l], m_scale, v_scale);
    }
  }
  double time = now() - start;
  *check = error;
  return time;
}

INLINE double predict(const int rows, const int pieces, long calls, double *check) {
  const float *w = params, *w1 = params + 21 * 64;
  double start = now();
  for (long call = 0; call < calls; call++) {
    product(rows, 64, 20, x + (size_t)(call & (pieces - 1)) * rows * 20, w, w + 20 * 64, a[1]);
    activate(RELU, rows * 64, a[1]);
    for (int i = 0; i < rows; i++) {
      float z = w1[64];
      for (int j = 0; j < 64; j++) z += a[1][i * 64 + j] * w1[j];
      a[2][i] = 1 / (1 + expf(-z));
    }
    __asm__ volatile("" : : "r"(a[2]) : "memory");
  }
  double time = now() - start;
  *check = a[2][0];
  return time;
}

// A function for each workload, with its sizes as constants.
#define TRAIN(name, ...) \
  static double name(long steps, double *check) { \
    const Spec s = {#name, __VA_ARGS__}; \
    return train(s, steps, check); \
  }
TRAIN(seed, 2, {20, 64, 1}, RELU, BCE, SGD, .01f, 32)
TRAIN(digits, 2, {64, 128, 10}, RELU, CE, ADAM, .001f, 32)
TRAIN(mnist, 3, {784, 512, 256, 10}, RELU, CE, MOMENTUM, .01f, 128)
TRAIN(wide, 3, {1024, 2048, 2048, 1000}, RELU, CE, SGD, .01f, 256)
TRAIN(control, 3, {17, 64, 64, 6}, TANH, MSE, ADAM, .001f, 256)
static double predict1(long calls, double *check) { return predict(1, 256, calls, check); }
static double predict1024(long calls, double *check) { return predict(1024, BATCHES, calls, check); }

static Run prepare(const char *workload) {
  static const struct { const char *name; Run run; } runs[] = {
      {"seed", seed}, {"digits", digits}, {"mnist", mnist}, {"wide", wide}, {"control", control}, {"predict1", predict1}, {"predict1024", predict1024}};
  static char ready[64];
  Run run = NULL;
  for (int i = 0; i < 7; i++)
    if (!strcmp(runs[i].name, workload)) run = runs[i].run;
  if (!run || !strcmp(ready, workload)) return run;
  strcpy(ready, workload);
  const Spec *s = spec_of(workload);
  int predicts = run == predict1 || run == predict1024, rows = predicts ? 1024 : s->batch;
  float **all[] = {&initial, &params, &m, &v};
  params_len = 0;
  for (int l = 0; l < s->layers; l++) params_len += (size_t)(s->sizes[l] + 1) * s->sizes[l + 1];
  for (int i = 0; i < 4; i++) { free(*all[i]); *all[i] = floats(params_len); }
  for (int l = 1; l <= s->layers; l++) {
    free(a[l]);
    free(d[l]);
    a[l] = floats((size_t)rows * s->sizes[l]);
    d[l] = floats((size_t)rows * s->sizes[l]);
  }
  free(turned), free(x), free(y);
  turned = floats(params_len);
  size_t samples = (size_t)BATCHES * rows;
  x = floats(samples * s->sizes[0]);
  y = floats(samples * s->sizes[s->layers]);
  read_floats(s->name, "params", initial, params_len);
  memcpy(params, initial, params_len * sizeof(float));
  read_floats(predicts ? "predict" : s->name, "x", x, samples * s->sizes[0]);
  if (!predicts) read_floats(s->name, "y", y, s->loss == CE ? samples : samples * s->sizes[s->layers]);
  return run;
}

int main(int argc, char **argv) { return serve(argc, argv, ABOUT, prepare); }
