// The function that blas.c calls, by libxsmm's, which is column-major: it compiles small products when they are first met, and
// leaves large ones to a BLAS, here OpenBLAS.
#include <libxsmm.h>

void xsmm_sgemm(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha, const float *a, int lda,
                const float *b, int ldb, float beta, float *c, int ldc) {
  (void)order;
  char letter_a = transpose_a == 112 ? 'T' : 'N', letter_b = transpose_b == 112 ? 'T' : 'N';
  libxsmm_sgemm(&letter_b, &letter_a, &n, &m, &k, &alpha, b, &ldb, a, &lda, &beta, c, &ldc);
}

// What libxsmm calls by these names is called otherwise in PyPI's OpenBLAS.
#define BLAS(name, number) \
  void scipy_##name(const char *, const char *, const int *, const int *, const int *, const number *, const number *, \
                    const int *, const number *, const int *, const number *, number *, const int *); \
  void name(const char *ta, const char *tb, const int *m, const int *n, const int *k, const number *alpha, \
            const number *a, const int *lda, const number *b, const int *ldb, const number *beta, number *c, const int *ldc) { \
    scipy_##name(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc); \
  }
BLAS(sgemm_, float)
BLAS(dgemm_, double)
#undef BLAS
#define BLAS(name, number) \
  void scipy_##name(const char *, const int *, const int *, const number *, const number *, const int *, const number *, \
                    const int *, const number *, number *, const int *); \
  void name(const char *t, const int *m, const int *n, const number *alpha, const number *a, const int *lda, \
            const number *x, const int *incx, const number *beta, number *y, const int *incy) { \
    scipy_##name(t, m, n, alpha, a, lda, x, incx, beta, y, incy); \
  }
BLAS(sgemv_, float)
BLAS(dgemv_, double)
