// A training step by hand over a BLAS: one sgemm for each product, plain loops, which the compiler turns into vector code,
// for all else. `SGEMM` and `SGEMV` are the library's functions, with the signature of CBLAS; `ABOUT` says what it is.
#include "serve.h"

enum { ROW_MAJOR = 101, PLAIN = 111, TRANSPOSED = 112 };

#ifndef SGEMM
#define SGEMM cblas_sgemm
#endif
void SGEMM(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha, const float *a, int lda,
           const float *b, int ldb, float beta, float *c, int ldc);
#ifdef SGEMV // for a product with one row
void SGEMV(int order, int transpose, int m, int n, float alpha, const float *a, int lda, const float *x, int incx,
           float beta, float *y, int incy);
#endif

typedef struct {
  const Spec *spec;
  int rows; // of a batch
  size_t params_len;
  float *initial, *params, *gradient, *m, *v; // of all layers: weights [in × out], bias [out]
  size_t at[MAX_LAYERS];                      // where each layer's begin
  float *a[MAX_LAYERS + 1], *delta[MAX_LAYERS + 1];
  float *x, *y; // BATCHES batches; y holds values or classes
  int *classes;
} Net;

static void forward(Net *net, const float *x) {
  const Spec *s = net->spec;
  net->a[0] = (float *)x;
  for (int l = 0; l < s->layers; l++) {
    int in = s->sizes[l], out = s->sizes[l + 1], rows = net->rows;
    const float *w = net->params + net->at[l], *restrict bias = w + (size_t)in * out;
    float *restrict z = net->a[l + 1];
    size_t count = (size_t)rows * out;
    for (int i = 0; i < rows; i++) memcpy(z + (size_t)i * out, bias, out * sizeof *z);
#ifdef SGEMV
    if (rows == 1) SGEMV(ROW_MAJOR, TRANSPOSED, in, out, 1, w, out, net->a[l], 1, 1, z, 1);
    else
#endif
      SGEMM(ROW_MAJOR, PLAIN, PLAIN, rows, out, in, 1, net->a[l], in, w, out, 1, z, out);
    if (l < s->layers - 1) {
      if (s->activation == RELU) for (size_t i = 0; i < count; i++) z[i] = z[i] > 0 ? z[i] : 0;
      else for (size_t i = 0; i < count; i++) z[i] = tanhf(z[i]);
    } else if (s->loss == BCE) {
      for (size_t i = 0; i < count; i++) z[i] = 1 / (1 + expf(-z[i]));
    }
  }
}

// The loss, and its derivative by the pre-activations of the last layer.
static float loss(Net *net, int batch) {
  const Spec *s = net->spec;
  int rows = net->rows, out = s->sizes[s->layers];
  float *restrict z = net->a[s->layers], *restrict d = net->delta[s->layers], sum = 0;
  const float *restrict y = net->y + (size_t)batch * rows * out;
  if (s->loss == BCE) {
    for (int i = 0; i < rows; i++) {
      sum -= y[i] * logf(z[i] + 1e-7f) + (1 - y[i]) * logf(1 - z[i] + 1e-7f);
      d[i] = (z[i] - y[i]) / rows;
    }
    return sum / rows;
  }
  if (s->loss == MSE) {
    int count = rows * out;
    for (int i = 0; i < count; i++) {
      float e = z[i] - y[i];
      sum += e * e;
      d[i] = 2 * e / count;
    }
    return sum / count;
  }
  for (int i = 0; i < rows; i++, z += out, d += out) {
    int class = net->classes[batch * rows + i];
    float most = z[0], total = 0;
    for (int j = 1; j < out; j++) most = z[j] > most ? z[j] : most;
    for (int j = 0; j < out; j++) total += d[j] = expf(z[j] - most);
    sum += logf(total) + most - z[class];
    float scale = 1 / (total * rows);
    for (int j = 0; j < out; j++) d[j] *= scale;
    d[class] -= 1.f / rows;
  }
  return sum / rows;
}

static void backward(Net *net) {
  const Spec *s = net->spec;
  for (int l = s->layers - 1; l >= 0; l--) {
    int in = s->sizes[l], out = s->sizes[l + 1], rows = net->rows;
    const float *restrict d = net->delta[l + 1], *restrict a = net->a[l];
    float *gw = net->gradient + net->at[l], *restrict gb = gw + (size_t)in * out;
    SGEMM(ROW_MAJOR, TRANSPOSED, PLAIN, in, out, rows, 1, a, in, d, out, 0, gw, out);
    memset(gb, 0, out * sizeof *gb);
    for (int i = 0; i < rows; i++)
      for (int j = 0; j < out; j++) gb[j] += d[(size_t)i * out + j];
    if (l == 0) return;
    float *restrict below = net->delta[l];
    size_t count = (size_t)rows * in;
    SGEMM(ROW_MAJOR, PLAIN, TRANSPOSED, rows, in, out, 1, d, out, net->params + net->at[l], out, 0, below, in);
    if (s->activation == RELU) for (size_t i = 0; i < count; i++) below[i] = a[i] > 0 ? below[i] : 0;
    else for (size_t i = 0; i < count; i++) below[i] *= 1 - a[i] * a[i];
  }
}

static void update(Net *net, long step) {
  float *restrict w = net->params, *restrict m = net->m, *restrict v = net->v, rate = net->spec->rate;
  const float *restrict g = net->gradient;
  size_t count = net->params_len;
  switch (net->spec->optimizer) {
  case SGD:
    for (size_t i = 0; i < count; i++) w[i] -= rate * g[i];
    break;
  case MOMENTUM:
    for (size_t i = 0; i < count; i++) w[i] -= rate * (m[i] = .9f * m[i] + g[i]);
    break;
  case ADAM: {
    float m_scale = 1 / (1 - powf(.9f, step)), v_scale = 1 / (1 - powf(.999f, step));
    for (size_t i = 0; i < count; i++) {
      m[i] = .9f * m[i] + .1f * g[i];
      v[i] = .999f * v[i] + .001f * g[i] * g[i];
      w[i] -= rate * (m[i] * m_scale) / (sqrtf(v[i] * v_scale) + 1e-8f);
    }
  }
  }
}

static Net *current;

static double train(long steps, double *check) {
  Net *net = current;
  memcpy(net->params, net->initial, net->params_len * sizeof(float));
  memset(net->m, 0, net->params_len * sizeof(float));
  memset(net->v, 0, net->params_len * sizeof(float));
  float last = 0;
  double start = now();
  for (long step = 0; step < steps; step++) {
    int batch = step % BATCHES;
    forward(net, net->x + (size_t)batch * net->rows * net->spec->sizes[0]);
    last = loss(net, batch);
    backward(net);
    update(net, step + 1);
  }
  double time = now() - start;
  *check = last;
  return time;
}

static double predict(long calls, double *check) {
  Net *net = current;
  int inputs = net->spec->sizes[0], pieces = net->rows == 1 ? 256 : BATCHES;
  double start = now();
  for (long call = 0; call < calls; call++) forward(net, net->x + (size_t)(call & (pieces - 1)) * net->rows * inputs);
  double time = now() - start;
  *check = net->a[net->spec->layers][0];
  return time;
}

static Net *make(const char *workload) {
  int predicts = !strncmp(workload, "predict", 7);
  const Spec *s = spec_of(workload);
  if (!s) return NULL;
  Net *net = calloc(1, sizeof *net);
  net->spec = s;
  net->rows = predicts ? atoi(workload + strlen("predict")) : s->batch;
  for (int l = 0; l < s->layers; l++) {
    net->at[l] = net->params_len;
    net->params_len += (size_t)(s->sizes[l] + 1) * s->sizes[l + 1];
    net->a[l + 1] = floats((size_t)net->rows * s->sizes[l + 1]);
    net->delta[l + 1] = floats((size_t)net->rows * s->sizes[l + 1]);
  }
  float **all[] = {&net->initial, &net->params, &net->gradient, &net->m, &net->v};
  for (int i = 0; i < 5; i++) *all[i] = floats(net->params_len);
  read_floats(s->name, "params", net->initial, net->params_len);
  memcpy(net->params, net->initial, net->params_len * sizeof(float));
  size_t samples = predicts ? BATCHES * 1024 : (size_t)BATCHES * s->batch;
  net->x = floats(samples * s->sizes[0]);
  read_floats(predicts ? "predict" : s->name, "x", net->x, samples * s->sizes[0]);
  if (predicts) return net;
  size_t labels = s->loss == CE ? samples : samples * s->sizes[s->layers];
  net->y = floats(samples * s->sizes[s->layers]);
  read_floats(s->name, "y", net->y, labels);
  net->classes = calloc(labels, sizeof *net->classes);
  for (size_t i = 0; i < labels; i++) net->classes[i] = net->y[i];
  return net;
}

static Run prepare(const char *workload) {
  static struct { char name[64]; Net *net; } made[16];
  for (int i = 0; i < 16; i++) {
    if (!made[i].name[0]) {
      if (!(made[i].net = make(workload))) return NULL;
      strcpy(made[i].name, workload);
    }
    if (!strcmp(made[i].name, workload)) {
      current = made[i].net;
      return strncmp(workload, "predict", 7) ? train : predict;
    }
  }
  return NULL;
}

int main(int argc, char **argv) { return serve(argc, argv, ABOUT, prepare); }
