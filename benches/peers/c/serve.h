// What the C programs share: the workloads, their data, and the dialogue with the table's program (main.rs).
#ifndef SERVE_H
#define SERVE_H
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum activation { RELU, TANH };
enum loss { BCE, CE, MSE };
enum optimizer { SGD, MOMENTUM, ADAM };
enum { BATCHES = 8, MAX_LAYERS = 3 };

typedef struct {
  const char *name;
  int layers, sizes[MAX_LAYERS + 1];
  enum activation activation;
  enum loss loss;
  enum optimizer optimizer;
  float rate;
  int batch;
} Spec;

static const Spec SPECS[] = {
    {"seed", 2, {20, 64, 1}, RELU, BCE, SGD, .01f, 32},
    {"digits", 2, {64, 128, 10}, RELU, CE, ADAM, .001f, 32},
    {"mnist", 3, {784, 512, 256, 10}, RELU, CE, MOMENTUM, .01f, 128},
    {"wide", 3, {1024, 2048, 2048, 1000}, RELU, CE, SGD, .01f, 256},
    {"control", 3, {17, 64, 64, 6}, TANH, MSE, ADAM, .001f, 256},
};

static const char *data_folder;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + 1e-9 * t.tv_nsec;
}

static void die(const char *what) {
  fprintf(stderr, "%s\n", what);
  exit(1);
}

static float *floats(size_t count) {
  size_t bytes = (count * sizeof(float) + 63) / 64 * 64;
  float *p = aligned_alloc(64, bytes);
  if (!p) die("out of memory");
  memset(p, 0, bytes);
  return p;
}

// The numbers in the file WORKLOAD.KIND of the data folder.
static void read_floats(const char *workload, const char *kind, float *to, size_t count) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s.%s", data_folder, workload, kind);
  FILE *file = fopen(path, "rb");
  if (!file || fread(to, sizeof(float), count, file) != count) die(path);
  fclose(file);
}

static const Spec *spec_of(const char *workload) {
  if (!strncmp(workload, "predict", 7)) workload = "seed";
  for (size_t i = 0; i < sizeof SPECS / sizeof *SPECS; i++)
    if (!strcmp(workload, SPECS[i].name)) return &SPECS[i];
  return NULL;
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

// Answers each line "WORKLOAD STEPS SECONDS" with "NANOSECONDS CHECK", or with "- REASON". `run` trains so many steps from the
// initial parameters, or predicts so many times, and returns the seconds that it took; NULL if it doesn't have the workload.
typedef double (*Run)(long steps, double *check);

static int serve(int argc, char **argv, const char *about, Run (*prepare)(const char *workload)) {
  if (argc != 2) die("usage: PROGRAM DATA_FOLDER");
  data_folder = argv[1];
  printf("%s\n", about);
  fflush(stdout);
  char workload[64];
  long steps;
  double seconds;
  while (scanf("%63s %ld %lf", workload, &steps, &seconds) == 3) {
    Run run = prepare(workload);
    if (!run) {
      printf("- not written\n");
    } else {
      enum { MOST = 1 << 16 };
      static double times[MOST];
      double check = NAN, total = 0;
      int count = 0;
      for (double start = now(); seconds > 0 && now() - start < seconds / 10;) run(steps, &check);
      do {
        double time = run(steps, &check);
        total += time;
        times[count++] = time / steps;
      } while (total < seconds && count < MOST);
      qsort(times, count, sizeof *times, ascending);
      printf("%.3f %.9g\n", times[count / 2] * 1e9, check);
    }
    fflush(stdout);
  }
  return 0;
}
#endif
