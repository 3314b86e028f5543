// FANN on the network of seed. FANN has no ReLU and no cross-entropy: its hidden layer is piecewise linear, its loss the squared error, so
// there is no loss to compare. A step is an epoch of batch training on 32 samples.
#include "serve.h"
#include <fann.h>

enum { SAMPLES = 32, INPUTS = 20 };

static struct fann *net;
static struct fann_train_data *batches[BATCHES];
static float *x; // of predictions

static double train(long steps, double *check) {
  *check = NAN;
  fann_randomize_weights(net, -.3f, .3f);
  double start = now();
  for (long step = 0; step < steps; step++) fann_train_epoch(net, batches[step % BATCHES]);
  return now() - start;
}

static double predict(int rows, int pieces, long calls, double *check) {
  volatile float last = 0;
  double start = now();
  for (long call = 0; call < calls; call++)
    for (int row = 0; row < rows; row++) last = *fann_run(net, x + ((size_t)(call & (pieces - 1)) * rows + row) * INPUTS);
  double time = now() - start;
  (void)last;
  *check = NAN;
  return time;
}

static double predict1(long calls, double *check) { return predict(1, 256, calls, check); }
static double predict1024(long calls, double *check) { return predict(1024, BATCHES, calls, check); }

static void make(void) {
  net = fann_create_standard(3, INPUTS, 64, 1);
  fann_set_activation_function_hidden(net, FANN_LINEAR_PIECE);
  fann_set_activation_function_output(net, FANN_SIGMOID);
  fann_set_training_algorithm(net, FANN_TRAIN_BATCH);
  fann_set_learning_rate(net, .01f);
  float *inputs = floats(BATCHES * SAMPLES * INPUTS), *targets = floats(BATCHES * SAMPLES);
  read_floats("seed", "x", inputs, BATCHES * SAMPLES * INPUTS);
  read_floats("seed", "y", targets, BATCHES * SAMPLES);
  for (int batch = 0; batch < BATCHES; batch++) {
    batches[batch] = fann_create_train(SAMPLES, INPUTS, 1);
    for (int i = 0; i < SAMPLES; i++) {
      memcpy(batches[batch]->input[i], inputs + (batch * SAMPLES + i) * INPUTS, INPUTS * sizeof(float));
      batches[batch]->output[i][0] = targets[batch * SAMPLES + i];
    }
  }
  x = floats(BATCHES * 1024 * INPUTS);
  read_floats("predict", "x", x, BATCHES * 1024 * INPUTS);
}

static Run prepare(const char *workload) {
  if (!net) make();
  if (!strcmp(workload, "seed")) return train;
  if (!strcmp(workload, "predict1")) return predict1;
  return strcmp(workload, "predict1024") ? NULL : predict1024;
}

int main(int argc, char **argv) { return serve(argc, argv, ABOUT, prepare); }
